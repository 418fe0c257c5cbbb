//! Embeds the probes. `cargo xtask build` says in `LACUNA_PROBES` in which folder they are; otherwise they are looked
//! for where it leaves them. Without any the agent still builds, and says at run time that it has none.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The objects, as the probe crate names them.
const OBJECTS: [&str; 2] = ["lacuna-probes", "lacuna-probes-sched"];

/// Where `cargo xtask build` leaves them, seen from this crate.
const DEFAULT: &str = "../target/probes/bpfel-unknown-none/probes";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=LACUNA_PROBES");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let told = env::var_os("LACUNA_PROBES").map(PathBuf::from);
    let folder = told.clone().unwrap_or_else(|| PathBuf::from(DEFAULT));
    for name in OBJECTS {
        let object = read(&folder.join(name), told.is_some())?;
        fs::write(out.join(name), object)?;
    }
    Ok(())
}

/// The object; empty where there is none and nobody said that there is.
fn read(path: &Path, must_exist: bool) -> Result<Vec<u8>, Box<dyn Error>> {
    // Also where it is not there: once it is, it must not be missed.
    println!("cargo::rerun-if-changed={}", path.display());
    if !must_exist && !path.exists() {
        return Ok(Vec::new());
    }
    fs::read(path).map_err(|error| format!("LACUNA_PROBES: {}: {error}", path.display()).into())
}
