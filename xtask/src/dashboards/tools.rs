//! What Prometheus's and Alertmanager's own tools say of `dashboards/prometheus`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::sh;

/// Rules, and what they must do.
const RULES: [&str; 2] = ["recording.rules.yml", "alerts.rules.yml"];
const TESTS: [&str; 2] = ["subjects.test.yml", "alerts.test.yml"];

/// Whether rules and configurations are right, and rules do what their tests say.
///
/// # Errors
/// What the tool wrote.
pub(super) fn check_rules() -> Result<()> {
    tool("promtool", &["check", "rules"], &RULES)?;
    // Above all: that no two rules write the same series.
    tool("promtool", &["check", "config"], &["prometheus.yml"])?;
    tool("amtool", &["check-config"], &["alertmanager.yml"])?;
    let said = tool("promtool", &["test", "rules"], &TESTS)?;
    let passed = said.matches("SUCCESS").count();
    ensure!(passed == TESTS.len(), "promtool says {said}");
    println!("{passed} files of rules' tests pass, rules and configurations are right");
    Ok(())
}

fn tool(program: &str, words: &[&str], files: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(words).args(files).current_dir(folder());
    sh::output(&mut command, "")
}

fn folder() -> PathBuf {
    super::folder().join("prometheus")
}
