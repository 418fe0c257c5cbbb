//! Tables of documents that commands write: each lies between two lines that name its command.

use anyhow::{Context as _, Result};

/// Writes the table of that command into the document, a path from the root.
pub(crate) fn write(document: &str, command: &str, table: &str) -> Result<()> {
    let with_table = put(&read(document)?, command, table).with_context(|| document.to_owned())?;
    std::fs::write(crate::root().join(document), with_table).with_context(|| document.to_owned())
}

/// The document as it is.
pub(crate) fn read(document: &str) -> Result<String> {
    std::fs::read_to_string(crate::root().join(document)).with_context(|| document.to_owned())
}

/// That text with the table in its place.
pub(crate) fn put(text: &str, command: &str, table: &str) -> Result<String> {
    let [begin, end] = ["begin", "end"].map(|which| format!("<!-- cargo xtask {command}: {which} -->\n"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no place for `{command}`"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("`{command}` has no end"))?;
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
        let text = format!("a\n{}b\n{}c\n", place("x", "old\n"), place("y", "other\n"));
        let expected = format!("a\n{}b\n{}c\n", place("x", "new\n"), place("y", "other\n"));
        assert_eq!(put(&text, "x", "new\n").unwrap(), expected);
        assert!(put(&text, "z", "").is_err());
    }
}
