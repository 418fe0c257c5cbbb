//! The lines between the runner and the guest.
//!
//! The runner sends `<number> <cpu> <command> <arguments…>`: the work is to be served on that CPU. The guest answers
//! `<number> ok <text>` or `<number> error <text>`, and tells by itself `hello <boot id>` when it is up and
//! `done <number> <text>` when the job that the request of that number began has ended.

use anyhow::{Context as _, Result};

/// A line of the runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// By which the answer is told from others.
    pub(crate) number: u64,
    /// The CPU that is to serve it.
    pub(crate) cpu: usize,
    /// What to do.
    pub(crate) command: String,
    /// With what.
    pub(crate) arguments: Vec<String>,
}

impl Request {
    /// From a line.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace();
        let mut word = |what: &str| words.next().with_context(|| format!("`{line}` has no {what}"));
        let number = word("number")?.parse().context("the number")?;
        let cpu = word("CPU")?.parse().context("the CPU")?;
        let command = word("command")?.to_owned();
        Ok(Self { number, cpu, command, arguments: words.map(str::to_owned).collect() })
    }

    /// The argument at that place, as text.
    pub(crate) fn text(&self, index: usize) -> Result<&str> {
        let argument = self.arguments.get(index);
        argument.map(String::as_str).with_context(|| format!("{} needs more arguments", self.command))
    }

    /// The argument at that place, as a number.
    pub(crate) fn figure(&self, index: usize) -> Result<u64> {
        let text = self.text(index)?;
        text.parse().with_context(|| format!("{}: `{text}` is no number", self.command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whole_or_refused() {
        let request = Request::parse("7 1 timer-mask 0\n").unwrap();
        assert_eq!((request.number, request.cpu, request.command.as_str()), (7, 1, "timer-mask"));
        assert_eq!(request.figure(0).unwrap(), 0);
        assert!(request.figure(1).is_err());
        for line in ["", "7", "7 1", "x 1 timer-mask", "7 x timer-mask"] {
            assert!(Request::parse(line).is_err(), "{line}");
        }
    }
}
