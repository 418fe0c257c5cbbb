//! `lacuna`: see `lacuna --help`.
fn main() {}
