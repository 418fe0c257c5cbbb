//! What can be wrong with a configuration, in words that say what to do.

use std::fmt;
use std::path::PathBuf;

/// Why there is no configuration. Nothing was opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is longer than any configuration.
    #[error("{}: {length} bytes is too long for a configuration; allowed: at most {most} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// The longest allowed, in bytes.
        most: u64,
    },
    /// The file says something wrong.
    #[error("{}", lines(name, problems))]
    Wrong {
        /// What the file is called.
        name: String,
        /// Every mistake, in the order of the file; never empty.
        problems: Vec<Problem>,
    },
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line it is in, from 1.
    pub line: usize,
    /// The key with its section, such as `heartbeat.interval`; empty where the text is no TOML.
    pub key: String,
    /// What is wrong.
    pub wrong: String,
    /// What would be right; empty where `wrong` says it already.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.wrong)?;
        if !self.allowed.is_empty() {
            write!(f, "; allowed: {}", self.allowed)?;
        }
        Ok(())
    }
}

fn lines(name: &str, problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(|problem| format!("{name}:{}: {problem}", problem.line)).collect();
    lines.join("\n")
}
