//! From values to bytes: documents, metrics, pages and texts. Nothing here opens, waits or writes.

mod cpu_words;
pub mod exchange;
pub mod html;
pub mod json;
mod network_words;
mod origin;
pub mod otlp;
mod path_words;
pub mod prometheus;
pub mod report;
pub mod table;
pub mod text;
pub mod width;
pub mod words;
