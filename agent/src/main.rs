//! `lacuna`: see `lacuna --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lacuna::cli::main()
}
