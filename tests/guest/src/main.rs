//! The first process in a guest of the lab. It sets the guest up, and then does what lines on the second serial port
//! tell it. What must run on one CPU runs in child processes: this program again, with another first argument.

mod agent;
mod apic;
mod breakpoint;
mod busy;
mod control;
mod cpu;
mod disk;
mod jobs;
mod kernel;
mod request;
mod serve;
mod setup;

use std::process::ExitCode;

use anyhow::Result;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match arguments.next().as_deref() {
        Some("helper") => control::helper(&arguments.collect::<Vec<_>>()),
        _ => first_process(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Sets up and serves; never returns while the serial port is there.
fn first_process() -> Result<()> {
    setup::all()?;
    std::thread::spawn(breakpoint::tell_handlers);
    serve::lines()
}
