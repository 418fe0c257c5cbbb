//! `cargo xtask`: one enum, one file a command.

mod bench;
mod build;
mod collector;
mod dashboards;
mod demo;
mod fuzz;
mod hooks;
mod lab;
mod lint;
mod packages;
mod page;
mod prepare;
mod process;
mod run;
mod sh;
mod sim;
mod stop;
mod tables;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// Builds, runs, tests and measures Lacuna.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Builds the probes and the agent into one self-contained binary.
    Build(build::Args),
    /// Installs what is missing, builds, and runs the agent on this host.
    Run(run::Args),
    /// Installs what is missing and runs every test there is.
    Test(test::Args),
    /// Injects faults between real agents in network namespaces and judges their verdicts.
    Lab(lab::Args),
    /// Shows four stalls that look alike from outside, in a virtual machine, and the four verdicts.
    Demo(demo::Args),
    /// Runs the tests of the probes on every kernel of the lab, and compares the table of hooks in docs/kernels.md.
    Hooks(hooks::Args),
    /// Makes the dashboards of their description, or checks them, the rules and the alerts.
    Dashboards(dashboards::Args),
    /// Looks at the web page of real agents in headless Chromium: live, without scripts, on a phone, as a file.
    Page(page::Args),
    /// Measures Lacuna beside other programs.
    Bench(bench::Args),
    /// Format and clippy, warnings denied.
    Lint,
    /// Feeds a fuzz target with random input.
    Fuzz(fuzz::Args),
    /// Simulates fleets with known truth and compares what they conclude.
    Sim(sim::Args),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Build(args) => build::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Hooks(args) => hooks::run(&args),
        Command::Dashboards(args) => dashboards::run(&args),
        Command::Page(args) => page::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Lint => lint::run(),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Sim(args) => sim::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where everything that is built or made goes.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
