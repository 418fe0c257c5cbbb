//! `cargo xtask fuzz`: random input for a target of tests/fuzz.

use anyhow::{Context as _, Result};

use crate::{process, sh};

/// The folder of the fuzz targets, below the root.
pub(crate) const FOLDER: &str = "tests/fuzz";

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// For how long.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// The target, a file in tests/fuzz.
    target: String,
}

/// Installs cargo-fuzz where it is missing, and fuzzes.
pub(crate) fn run(args: &Args) -> Result<()> {
    install()?;
    fuzz(&args.target, args.seconds)
}

/// Feeds that target for that long; an error where it crashed.
pub(crate) fn fuzz(target: &str, seconds: u32) -> Result<()> {
    let time = format!("-max_total_time={seconds}");
    // What is found is kept in the first folder; the second holds real packets, to begin with.
    let (corpus, seeds) = (format!("{FOLDER}/corpus/{target}"), format!("{FOLDER}/seeds/{target}"));
    std::fs::create_dir_all(crate::root().join(&corpus)).context(corpus.clone())?;
    let fuzz = ["fuzz", "run", "--fuzz-dir", FOLDER, target, &corpus, &seeds, "--", &time];
    let mut command = if has_nightly() {
        let mut command = sh::command(&["cargo", "+nightly"]);
        command.args(fuzz).current_dir(crate::root());
        // Set by the cargo that runs this, and for its toolchain.
        command.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
        command
    } else {
        let mut command = sh::cargo(&fuzz);
        command.env("RUSTC_BOOTSTRAP", "1");
        command
    };
    process::run(&mut command).with_context(|| format!("the target `{target}`"))
}

/// Installs cargo-fuzz where it is missing.
pub(crate) fn install() -> Result<()> {
    if sh::output(&mut sh::cargo(&["fuzz", "--version"]), "").is_ok() {
        return Ok(());
    }
    println!("installing: cargo-fuzz");
    process::run(&mut sh::cargo(&["install", "--locked", "cargo-fuzz"]))
}

fn has_nightly() -> bool {
    sh::output(&mut sh::command(&["cargo", "+nightly", "--version"]), "").is_ok()
}
