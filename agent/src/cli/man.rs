//! `lacuna man DIR`: a manual page for each command, made of what `--help` says.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::Cli;

/// Arguments of `lacuna man`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The folder, such as /usr/share/man/man1; it is made where it is missing.
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let at = || args.folder.display().to_string();
    fs::create_dir_all(&args.folder).with_context(at)?;
    for (name, page) in pages()? {
        fs::write(args.folder.join(name), page).with_context(at)?;
    }
    Ok(())
}

/// The pages with their file names.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    // Names the commands "lacuna-incidents" and so on.
    command.build();
    let mut pages = Vec::new();
    add(&command, None, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, above: Option<&str>, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let man = Man::new(command.clone()).source(format!("lacuna {}", env!("CARGO_PKG_VERSION"))).manual("Lacuna");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    examples(command, &mut page)?;
    exit_status(&mut page)?;
    see_also(command, above, &mut page)?;
    pages.push((man.get_filename(), page));
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    for below in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        add(below, Some(name), pages)?;
    }
    Ok(())
}

/// What stands below the options in `--help`, line by line as it stands there.
fn examples(command: &Command, to: &mut dyn Write) -> io::Result<()> {
    let Some(text) = command.get_after_help() else { return Ok(()) };
    let mut roff = Roff::default();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in text.to_string().lines().filter(|line| *line != "Examples:") {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.to_writer(to)
}

fn exit_status(to: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::default();
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman("0 done, 1 failed, 2 wrong usage.")]);
    roff.to_writer(to)
}

fn see_also(command: &Command, above: Option<&str>, to: &mut dyn Write) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    let below = below.map(|command| format!("{name}-{}(1)", command.get_name()));
    let pages: Vec<_> = above.map(|above| format!("{above}(1)")).into_iter().chain(below).collect();
    if pages.is_empty() {
        return Ok(());
    }
    let mut roff = Roff::default();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(pages.join(", "))]);
    roff.to_writer(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pages: &[(String, Vec<u8>)], name: &str) -> String {
        let (_, page) = pages.iter().find(|(known, _)| known == name).expect("no such page");
        String::from_utf8(page.clone()).unwrap()
    }

    #[test]
    fn every_command_has_a_page_and_what_is_hidden_none() {
        let pages = pages().unwrap();
        let mut names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let expected = [
            "lacuna-agent.1",
            "lacuna-completions.1",
            "lacuna-config-check.1",
            "lacuna-config.1",
            "lacuna-doctor.1",
            "lacuna-explain.1",
            "lacuna-incidents.1",
            "lacuna-mark.1",
            "lacuna-record.1",
            "lacuna-replay.1",
            "lacuna-report.1",
            "lacuna-status.1",
            "lacuna-watch.1",
            "lacuna.1",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_page_has_what_help_has() {
        let pages = pages().unwrap();
        let page = text(&pages, "lacuna-incidents.1");
        for part in
            [".TH lacuna", ".SH NAME", ".SH SYNOPSIS", "\\-\\-since", ".SH EXAMPLES", "lacuna incidents", "lacuna(1)"]
        {
            assert!(page.contains(part), "{part} not in\n{page}");
        }
        assert!(text(&pages, "lacuna.1").contains("lacuna\\-watch(1)"));
    }

    #[test]
    fn every_control_line_is_one_of_the_manual_macros() {
        for (name, page) in pages().unwrap() {
            let page = String::from_utf8(page).unwrap();
            for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
                let macro_name = line[1..].split_whitespace().next().unwrap_or_default();
                let known = ["TH", "SH", "TP", "PP", "RS", "RE", "IP", "nf", "fi", "br", "ie", "el", "ds", "if"];
                assert!(known.contains(&macro_name.split('\\').next().unwrap_or_default()), "{name}: {line}");
            }
        }
    }
}
