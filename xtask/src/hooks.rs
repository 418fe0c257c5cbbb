//! `cargo xtask hooks`: the probes' own tests on every kernel of the lab and on this machine's, and the table of docs/kernels.md
//! that says which hook works where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::lab::EMULATOR_ERRED;
use crate::lab::folder::Folder;
use crate::lab::guest::{Guest, Image, Place, emulator_erred};
use crate::lab::network::{self, Network};
use crate::stop::Stop;
use crate::{build, lab, sh, tables};

/// The document with the table, and its place there.
const DOCUMENT: &str = "docs/kernels.md";
const PLACE: &str = "hooks";
/// Where the tests of the probes are in a guest.
const TESTS: &str = "/lab/probe-tests";
/// Tests that need two network namespaces and the programs that make them, which guests do not have.
const SKIPPED: [&str; 5] = ["network_probes", "a_syn_that", "an_attempt_that", "cable::", "heartbeats::"];
/// How long the tests may take in a guest, where everything is slow.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is tried.
const TRIES: u32 = 5;
/// The guest's name.
const NAME: &str = "db1";

/// Arguments of `cargo xtask hooks`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes the table into docs/kernels.md, instead of comparing it with what is there.
    #[arg(long)]
    write: bool,
}

/// What `doctor` says of a kernel: each hook, and why it does not work where it does not.
struct Column {
    /// Its release.
    kernel: String,
    hooks: BTreeMap<String, Option<String>>,
    /// The tests that passed.
    passed: usize,
}

/// Runs the tests everywhere; an error where one fails, or where docs/kernels.md says something else.
pub(crate) fn run(args: &Args) -> Result<()> {
    let agent = lab::agent_or_build(None, true)?;
    let tests = build::probe_tests()?;
    let stop = Stop::on_signals()?;
    lab::clean_up()?;
    let mut columns = Vec::new();
    for image in lab::images(&agent, None)? {
        eprintln!("Linux {}: booting a guest, then the tests of the probes", image.release);
        columns.push(in_guest_again(&image.with_program(TESTS, &tests)?, &stop)?);
    }
    eprintln!("this machine: the tests of the probes");
    columns.push(here(&agent, &tests)?);
    let table = table(&columns);
    print!("{table}");
    if args.write {
        return tables::write(DOCUMENT, PLACE, &table);
    }
    let there = tables::read(DOCUMENT)?;
    let with_table = tables::put(&there, PLACE, &table)?;
    // The own kernel of another machine may be any.
    ensure!(same_guests(&there, &with_table), "{DOCUMENT} has another table: look at it, then write it with --write");
    Ok(())
}

/// The tests attach and detach every probe many times, and each time may be one too many for the emulator.
fn in_guest_again(image: &Image, stop: &Stop) -> Result<Column> {
    let mut left = TRIES;
    loop {
        left -= 1;
        let folder = Folder::create(&format!("hooks@{}", image.release))?;
        match in_guest(image, stop, &folder) {
            Err(error) if left > 0 && emulator_erred(folder.path())? => {
                eprintln!("{error:#}: {EMULATOR_ERRED}; once more")
            }
            told => return told,
        }
    }
}

fn in_guest(image: &Image, stop: &Stop, folder: &Folder) -> Result<Column> {
    let network = Network::with_places(&[(NAME, network::Place::Guest)])?;
    let host = network.host(NAME)?;
    let config = format!("host = \"{NAME}\"\n[heartbeat]\ninsecure = true\n[store]\npath = \"/run/store\"\n");
    let place = Place {
        name: NAME,
        addr: host.addr,
        tap: &host.port,
        switch: &network.switch,
        memory: 768,
        folder: folder.path(),
    };
    let guest = Guest::start(place, image, &image.of_guest(&config, false)?)?;
    guest.wait_until_up(1, stop)?;
    let kernel = guest.request(0, "busybox uname -r")?;
    let skipped = SKIPPED.map(|name| format!("--skip {name}")).join(" ");
    let tested = logged(&guest, &format!("{TESTS} {skipped} --test-threads 1"), stop)?;
    let passed = count_passed(&tested).with_context(|| format!("Linux {kernel}: {tested}"))?;
    let told = logged(&guest, "/lab/lacuna doctor --json --config /lab/lacuna.toml", stop)?;
    Ok(Column { kernel, hooks: hooks(&told)?, passed })
}

/// What a program printed in the guest, whatever became of it.
fn logged(guest: &Guest, command: &str, stop: &Stop) -> Result<String> {
    let (number, _) = guest.begin(0, &format!("log {command}"))?;
    let ended = stop.wait_for(PATIENCE, || guest.how_ended(number).is_some() || guest.boots() > 1)?;
    ensure!(guest.boots() == 1, "the guest's kernel died");
    ensure!(ended, "not done after {PATIENCE:?}: {command}");
    // An answer is one line.
    Ok(guest.request(0, "busybox cat /run/log")?.replace(" | ", "\n"))
}

fn here(agent: &Path, tests: &Path) -> Result<Column> {
    let release = sh::output(&mut sh::command(&["uname", "-r"]), "")?;
    let kernel = release.trim().split('-').next().unwrap_or_default().to_owned();
    let tested = sh::output(std::process::Command::new(tests).args(["--test-threads", "1"]), "")?;
    let folder = Folder::create("hooks")?;
    let config: PathBuf = folder.path().join("lacuna.toml");
    let store = folder.path().join("store");
    std::fs::write(
        &config,
        format!("[heartbeat]\ninsecure = true\n[store]\npath = {:?}\n", store.display().to_string()),
    )?;
    let mut doctor = std::process::Command::new(agent);
    let told = doctor.args(["doctor", "--json", "--config"]).arg(&config).output().context("doctor")?;
    let hooks = hooks(&String::from_utf8_lossy(&told.stdout))?;
    Ok(Column { kernel, hooks, passed: count_passed(&tested)? })
}

/// From the harness's last line: `test result: ok. 10 passed; 0 failed; …`.
fn count_passed(printed: &str) -> Result<usize> {
    let result = printed.split("test result: ").nth(1).context("the tests did not end")?;
    ensure!(result.starts_with("ok."), "tests failed");
    result.split_whitespace().nth(1).and_then(|count| count.parse().ok()).context("no count of tests")
}

/// The hooks of a report of `doctor`: `irq on raw_tp/local_timer_entry`, and why one is not attached.
fn hooks(report: &str) -> Result<BTreeMap<String, Option<String>>> {
    let report: Value = serde_json::from_str(report.trim()).context("what doctor says")?;
    let checks = report["checks"].as_array().context("no checks")?;
    let mut hooks = BTreeMap::new();
    for check in checks.iter().filter(|check| check["topic"] == "probe") {
        let text = |name: &str| check[name].as_str().map(str::to_owned);
        let because = (check["state"] != "ok").then(|| text("next").unwrap_or_default());
        hooks.insert(text("found").context("a probe without a name")?, because);
    }
    if hooks.is_empty() {
        bail!("doctor names no probe");
    }
    Ok(hooks)
}

/// A row for each hook, a column for each kernel; then the reasons of what is missing.
fn table(columns: &[Column]) -> String {
    let kernels: Vec<_> = columns.iter().map(|column| column.kernel.as_str()).collect();
    let mut lines = vec![format!("| family | hook | {} |", kernels.join(" | "))];
    lines.push(format!("|---|---|{}", "---|".repeat(columns.len())));
    let names: BTreeSet<&String> = columns.iter().flat_map(|column| column.hooks.keys()).collect();
    let mut missing = Vec::new();
    for name in names {
        let (family, hook) = name.split_once(" on ").unwrap_or(("", name));
        let mut cells = Vec::new();
        for column in columns {
            cells.push(match column.hooks.get(name) {
                Some(None) => "yes",
                Some(Some(because)) => {
                    missing.push(format!("- {hook} on {}: {because}", column.kernel));
                    "no"
                }
                None => "not there",
            });
        }
        lines.push(format!("| {family} | `{hook}` | {} |", cells.join(" | ")));
    }
    let tests: Vec<_> = columns.iter().map(|column| format!("{} passed", column.passed)).collect();
    lines.push(format!("| | tests of the probes | {} |", tests.join(" | ")));
    if !missing.is_empty() {
        lines.push(String::new());
        lines.extend(missing);
    }
    lines.join("\n") + "\n"
}

/// Whether the hooks of the guests' kernels are the same in both, whatever the versions are called; the last column is of
/// whatever machine this is.
fn same_guests(one: &str, other: &str) -> bool {
    let rows = |text: &str| -> Vec<String> {
        let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains("` | "));
        rows.filter_map(|row| Some(row.rsplit_once(" | ")?.0.to_owned())).collect()
    };
    rows(one) == rows(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kernel: &str, missing: Option<&str>) -> Column {
        let hooks = [("irq on raw_tp/a".to_owned(), None), ("tcp on raw_tp/b".to_owned(), missing.map(str::to_owned))];
        Column { kernel: kernel.into(), hooks: hooks.into(), passed: 10 }
    }

    #[test]
    fn the_table_has_a_row_for_each_hook_and_says_why_one_is_missing() {
        let table = table(&[column("6.1", Some("not attached: no tracepoint")), column("6.12", None)]);
        assert!(
            table.starts_with("| family | hook | 6.1 | 6.12 |\n|---|---|---|---|\n| irq | `raw_tp/a` | yes | yes |\n")
        );
        assert!(table.contains("| tcp | `raw_tp/b` | no | yes |\n"), "{table}");
        assert!(table.ends_with("\n- raw_tp/b on 6.1: not attached: no tracepoint\n"), "{table}");
    }

    #[test]
    fn the_own_kernel_may_differ() {
        let [one, other] = ["6.18", "5.10"].map(|own| table(&[column("6.1", None), column(own, None)]));
        assert!(same_guests(&one, &other));
        assert!(!same_guests(&one, &table(&[column("6.1", Some("x")), column("6.18", None)])));
    }

    #[test]
    fn tests_that_failed_are_no_count() {
        assert_eq!(count_passed("running\ntest result: ok. 10 passed; 0 failed;").unwrap(), 10);
        assert!(count_passed("test result: FAILED. 9 passed; 1 failed").is_err());
        assert!(count_passed("killed").is_err());
    }
}
