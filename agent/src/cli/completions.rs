//! `lacuna completions SHELL`: what a shell needs to complete command lines.

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::{Cli, output};

const EXAMPLES: &str = "\
Examples:
  lacuna completions bash > /usr/share/bash-completion/completions/lacuna
  lacuna completions zsh > /usr/share/zsh/vendor-completions/_lacuna
  lacuna completions fish > /usr/share/fish/vendor_completions.d/lacuna.fish
  source <(lacuna completions bash)                # for this shell only";

/// Arguments of `lacuna completions`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// For which shell.
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "lacuna", &mut script);
    output::print(&String::from_utf8(script)?)
}
