//! Web pages: `/`, one incident, and a report, served or as one file that needs nothing else. A file for each page and for what
//! they have in common; every value is escaped by the templates, and the policy of every page lets nothing in but its own
//! style and script.

mod frame;
mod incident;
mod matrix;
mod overview;
mod parts;
mod refused;
mod report;
mod timeline;

pub use frame::{Place, policy};
pub use incident::{Beside, incident, only_earlier};
pub use overview::{Overview, overview};
pub use refused::refused;
pub use report::report;
