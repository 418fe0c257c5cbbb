//! What packages ship beside the binary: completions and manual pages, as the programs that read them see them.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

#[path = "support/agent.rs"]
mod agent;

use std::process::{Command, Stdio};

use agent::{err, lacuna, out};

/// What bash offers for the last one of these words.
fn bash_offers(script: &std::path::Path, words: &[&str]) -> Vec<String> {
    let (last, before) = words.split_last().unwrap();
    let previous = before.last().unwrap();
    let all: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let ask = format!(
        "set -u; source {}; COMP_WORDS=({}); COMP_CWORD={}; _lacuna lacuna '{last}' '{previous}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        all.join(" "),
        before.len()
    );
    let answer = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
    assert!(answer.status.success(), "{}", err(&answer));
    assert_eq!(err(&answer), "");
    out(&answer).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_classes() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("lacuna");
    let made = lacuna(&["completions", "bash"]);
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    std::fs::write(&script, made.stdout).unwrap();
    assert_eq!(bash_offers(&script, &["lacuna", "wat"]), ["watch"]);
    assert_eq!(bash_offers(&script, &["lacuna", "incidents", "--cl"]), ["--class"]);
    assert_eq!(bash_offers(&script, &["lacuna", "incidents", "--class", "vm"]), ["vm-pause"]);
    assert_eq!(bash_offers(&script, &["lacuna", "config", "ch"]), ["check"]);
    let registered = format!("source {}; complete -p lacuna", script.display());
    let answer = Command::new("bash").args(["--norc", "-c", &registered]).output().unwrap();
    assert!(out(&answer).contains("-F _lacuna"), "{}{}", out(&answer), err(&answer));
}

#[test]
fn every_shell_gets_a_script_and_an_unknown_one_is_wrong_usage() {
    for (shell, part) in [
        ("bash", "complete -F _lacuna"),
        ("zsh", "#compdef lacuna"),
        ("fish", "complete -c lacuna"),
        ("elvish", "edit:"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let made = lacuna(&["completions", shell]);
        assert_eq!(made.status.code(), Some(0), "{shell}");
        assert!(out(&made).contains(part), "{shell}");
        assert!(out(&made).contains("incidents"), "{shell}");
    }
    let refused = lacuna(&["completions", "csh"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(err(&refused).contains("possible values: bash"), "{}", err(&refused));
}

#[test]
fn nobody_reads_the_script_to_its_end() {
    let mut child = agent::command(&["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0), "as for every other command");
}

#[test]
fn man_reads_the_pages_without_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("share/man1");
    let made = lacuna(&["man", folder.to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    let pages: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|page| page.unwrap().path()).collect();
    assert!(pages.len() > 10, "{pages:?}");
    // Without `man` the pages' macros are checked where they are made.
    if !Command::new("man").arg("--version").output().is_ok_and(|answer| answer.status.success()) {
        eprintln!("no `man` here: the pages are not formatted");
        return;
    }
    for page in pages {
        let mut man = Command::new("man");
        man.args(["--warnings", "--local-file"]).arg(&page).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80");
        let formatted = man.output().unwrap();
        assert!(formatted.status.success(), "{}: {}", page.display(), err(&formatted));
        assert_eq!(err(&formatted), "", "{}", page.display());
        assert!(out(&formatted).contains("SYNOPSIS\n"), "{}: {}", page.display(), out(&formatted));
    }
}

#[test]
fn help_of_every_command_says_what_to_do_next() {
    for command in ["agent", "doctor", "status", "watch", "incidents", "explain", "record", "replay", "mark", "report"]
    {
        let help = out(&lacuna(&[command, "--help"]));
        assert!(help.contains(&format!("\n  lacuna {command}")), "{command} has no example:\n{help}");
    }
    assert!(out(&lacuna(&["config", "check", "--help"])).contains("lacuna doctor --config FILE"));
    assert!(out(&lacuna(&["--help"])).contains("lacuna COMMAND --help"));
    assert!(!out(&lacuna(&["--help"])).contains("\n  man "), "for packages only");
}
