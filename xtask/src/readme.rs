//! Tables of the README that commands write: each lies between two lines that name its command.

use anyhow::{Context as _, Result};

/// Writes the table of that command into the README.
pub(crate) fn write(command: &str, table: &str) -> Result<()> {
    let with_table = put(&read()?, command, table)?;
    std::fs::write(crate::root().join("README.md"), with_table).context("README.md")
}

/// The README as it is.
pub(crate) fn read() -> Result<String> {
    std::fs::read_to_string(crate::root().join("README.md")).context("README.md")
}

/// The README with that table in its place.
pub(crate) fn put(readme: &str, command: &str, table: &str) -> Result<String> {
    let [begin, end] = ["begin", "end"].map(|which| format!("<!-- cargo xtask {command}: {which} -->\n"));
    let (before, rest) =
        readme.split_once(&begin).with_context(|| format!("README.md has no place for `{command}`"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("README.md: `{command}` has no end"))?;
    Ok(format!("{before}{begin}{table}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_its_own_place() {
        let place = |command: &str, text: &str| {
            format!("<!-- cargo xtask {command}: begin -->\n{text}<!-- cargo xtask {command}: end -->\n")
        };
        let readme = format!("a\n{}b\n{}c\n", place("x", "old\n"), place("y", "other\n"));
        let expected = format!("a\n{}b\n{}c\n", place("x", "new\n"), place("y", "other\n"));
        assert_eq!(put(&readme, "x", "new\n").unwrap(), expected);
        assert!(put(&readme, "z", "").is_err());
    }
}
