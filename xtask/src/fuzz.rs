//! `cargo xtask fuzz`: random input for the decoders, by the targets in tests/fuzz.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{process, sh};

/// The folder of the fuzz targets, below the root.
const FOLDER: &str = "tests/fuzz";
/// What Cargo calls in place of the compiler for the crates of this workspace, below that folder.
const COMPILER: &str = "rustc-with-sanitizer.sh";
/// An input that takes longer is a finding, in seconds; most take microseconds.
const SLOW: u32 = 20;
/// Lines of the log of a failure that are shown.
const TAIL: usize = 30;

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The targets; all where none is named.
    targets: Vec<String>,
    /// Lists the targets and what they show.
    #[arg(long)]
    list: bool,
    /// For how long each.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Runs that many at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: u32,
}

impl Args {
    /// Every target for so long, that many at once.
    pub(crate) fn brief(seconds: u32, jobs: u32) -> Self {
        Self { targets: Vec::new(), list: false, seconds, jobs }
    }
}

/// Feeds the targets; an error where one of them has a finding.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.list {
        for target in all()? {
            println!("{:<10} {}", target, about(&target)?);
        }
        return Ok(());
    }
    let (good, bad) = outcomes(args)?;
    println!("{good} passed, {bad} failed");
    ensure!(bad == 0, "fuzz targets have findings");
    Ok(())
}

/// How many targets had no finding, and how many had one; each is told as it ends.
pub(crate) fn outcomes(args: &Args) -> Result<(usize, usize)> {
    let targets = chosen(&args.targets)?;
    build(&targets)?;
    let (waiting, failed) = (Mutex::new(targets.iter()), Mutex::new(0));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                while let Some(target) = next() {
                    match feed(target, args.seconds) {
                        Ok(runs) => println!("ok     {target:<10} {:>3} s, {runs}", args.seconds),
                        Err(error) => {
                            println!("FAILED {target:<10} {error:#}");
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((targets.len() - failed, failed))
}

/// Builds those, in the folder of everything else: of what they need, little more than the crates of this
/// workspace is built once more.
fn build(targets: &[String]) -> Result<()> {
    let mut build = sh::cargo(&["build", "--release", "--package", "lacuna-fuzz"]);
    build.args(targets.iter().flat_map(|target| ["--bin", target]));
    build.env("RUSTC_WORKSPACE_WRAPPER", crate::root().join(FOLDER).join(COMPILER));
    process::run(&mut build)
}

/// Feeds that target for as long as is asked for; what it says of its runs.
fn feed(target: &str, seconds: u32) -> Result<String> {
    // What is found is kept in the first folder; the second holds real input, to begin with.
    let (corpus, seeds) = (format!("{FOLDER}/corpus/{target}"), format!("{FOLDER}/seeds/{target}"));
    let findings = format!("{FOLDER}/artifacts/{target}/");
    for folder in [&corpus, &findings] {
        std::fs::create_dir_all(crate::root().join(folder)).with_context(|| folder.clone())?;
    }
    let log = log(target)?;
    let (time, slow) = (format!("-max_total_time={seconds}"), format!("-timeout={SLOW}"));
    let mut run = Command::new(crate::target().join("release").join(target));
    // One crate that is in an executable twice, with and without the sanitizer, is no mistake here.
    run.env("ASAN_OPTIONS", "detect_odr_violation=0");
    run.args([&corpus, &seeds, &time, &slow, &format!("-artifact_prefix={findings}")]).current_dir(crate::root());
    let file = File::create(&log).with_context(|| log.display().to_string())?;
    let status =
        run.stdout(file.try_clone()?).stderr(file).status().with_context(|| format!("cannot start {target}"))?;
    let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    if !status.success() {
        bail!("{status}; {} ends with:\n{}", log.display(), tail(&text));
    }
    Ok(runs(&text).unwrap_or("without figures").to_owned())
}

/// The figures of libFuzzer's `Done 123 runs in 60 second(s)`.
fn runs(log: &str) -> Option<&str> {
    log.lines().rev().find_map(|line| line.strip_prefix("Done ")?.split(" in ").next())
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

fn log(target: &str) -> Result<PathBuf> {
    let folder = crate::target().join("fuzz");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder.join(format!("{target}.log")))
}

/// Those that were asked for.
fn chosen(asked: &[String]) -> Result<Vec<String>> {
    let known = all()?;
    if asked.is_empty() {
        return Ok(known);
    }
    for target in asked {
        ensure!(known.contains(target), "no fuzz target `{target}`; there are: {}", known.join(", "));
    }
    Ok(asked.to_vec())
}

/// The names of the files in `fuzz_targets`, sorted.
fn all() -> Result<Vec<String>> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let stems = entries.filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_owned()));
    let mut names: Vec<_> = stems.filter_map(|stem| stem.into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// The first line of its documentation.
fn about(target: &str) -> Result<String> {
    let path = folder().join(format!("{target}.rs"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text.lines().next().unwrap_or_default().trim_start_matches("//! ").to_owned())
}

fn folder() -> PathBuf {
    crate::root().join(Path::new(FOLDER)).join("fuzz_targets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_built_says_what_it_shows_and_has_seeds() {
        let manifest = std::fs::read_to_string(crate::root().join(FOLDER).join("Cargo.toml")).unwrap();
        let targets = all().unwrap();
        assert!(targets.len() >= 2);
        for target in targets {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
            assert!(!about(&target).unwrap().is_empty(), "{target}");
            let seeds = std::fs::read_dir(crate::root().join(FOLDER).join("seeds").join(&target));
            assert!(seeds.is_ok_and(|mut seeds| seeds.next().is_some()), "{target} has no seeds");
        }
    }

    #[test]
    fn a_target_that_is_not_there_names_those_that_are() {
        let error = chosen(&["wier".into()]).unwrap_err().to_string();
        assert!(error.contains("`wier`") && error.contains("wire"), "{error}");
    }

    #[test]
    fn the_figures_are_those_of_the_last_line_that_has_some() {
        assert_eq!(runs("#2 INITED cov: 3\nDone 512 runs in 31 second(s)\nstat::x: 1\n"), Some("512 runs"));
        assert_eq!(runs("==1==ERROR"), None);
    }
}
