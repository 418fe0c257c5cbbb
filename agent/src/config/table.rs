//! Walks a parsed TOML document and notes every mistake with its line instead of stopping at the first.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;

/// A value and the line that it stands in.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// The mistakes found so far.
pub(super) struct Findings {
    /// Where each line but the first begins.
    line_starts: Vec<usize>,
    found: RefCell<Vec<Problem>>,
}

impl Findings {
    pub(super) fn new(text: &str) -> Self {
        let line_starts = text.match_indices('\n').map(|(end, _)| end + 1).collect();
        Self { line_starts, found: RefCell::default() }
    }

    /// The line of a byte of the text, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.line_starts.partition_point(|start| *start <= offset)
    }

    pub(super) fn add(&self, line: usize, key: &str, wrong: String, allowed: &str) {
        self.found.borrow_mut().push(Problem { line, key: key.to_owned(), wrong, allowed: allowed.to_owned() });
    }

    /// All of them, in the order of the file.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        found.sort();
        found.dedup();
        found
    }
}

/// How a text becomes a value: the function gives the value or what is wrong, the words say what is allowed.
pub(super) struct Rule<'r, T> {
    pub(super) parse: &'r dyn Fn(&str) -> Result<T, String>,
    pub(super) allowed: &'r str,
}

/// One table of the file: hands out the keys it is asked for; [`Section::finish`] names those nobody asked for.
pub(super) struct Section<'a> {
    path: String,
    pub(super) line: usize,
    table: Option<&'a DeTable<'a>>,
    known: Vec<&'static str>,
    findings: &'a Findings,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a DeTable<'a>, findings: &'a Findings) -> Self {
        Self { path: String::new(), line: 1, table: Some(table), known: Vec::new(), findings }
    }

    /// The full name of a key of this section.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn line_of(&self, span: &Range<usize>) -> usize {
        self.findings.line(span.start)
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table?.get(key)
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, allowed: &str) {
        let wrong = format!("is of type {}", value.get_ref().type_str());
        self.findings.add(self.line_of(&value.span()), &self.key(key), wrong, allowed);
    }

    fn convert<T>(&self, key: &str, value: &Spanned<DeValue<'_>>, rule: &Rule<'_, T>) -> Option<At<T>> {
        let line = self.line_of(&value.span());
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, rule.allowed);
            return None;
        };
        match (rule.parse)(text) {
            Ok(value) => Some(At { line, value }),
            Err(wrong) => {
                self.findings.add(line, &self.key(key), wrong, rule.allowed);
                None
            }
        }
    }

    /// A text that `rule` makes a value of; absent where the key is, or where it is wrong (and noted).
    pub(super) fn text<T>(&mut self, key: &'static str, rule: &Rule<'_, T>) -> Option<At<T>> {
        let value = self.get(key)?;
        self.convert(key, value, rule)
    }

    /// As [`Section::text`], where the key must be there.
    pub(super) fn required<T>(&mut self, key: &'static str, rule: &Rule<'_, T>) -> Option<At<T>> {
        if self.table.is_some_and(|table| table.get(key).is_none()) {
            let wrong = "is missing".to_owned();
            self.findings.add(self.line, &self.key(key), wrong, rule.allowed);
        }
        self.text(key, rule)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<At<bool>> {
        let value = self.get(key)?;
        let line = self.line_of(&value.span());
        let Some(value) = value.get_ref().as_bool() else {
            self.wrong_type(key, value, "true, false");
            return None;
        };
        Some(At { line, value })
    }

    /// The number of a port, which is not 0.
    pub(super) fn port(&mut self, key: &'static str) -> Option<At<u16>> {
        let value = self.get(key)?;
        let (line, allowed) = (self.line_of(&value.span()), "a number from 1 to 65535");
        let Some(number) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, allowed);
            return None;
        };
        let port = u16::from_str_radix(number.as_str(), number.radix()).ok().filter(|port| *port > 0);
        if port.is_none() {
            self.findings.add(line, &self.key(key), format!("{} is not a port", number.as_str()), allowed);
        }
        port.map(|value| At { line, value })
    }

    /// A list of texts; those that are wrong are noted and left out.
    pub(super) fn texts<T>(&mut self, key: &'static str, rule: &Rule<'_, T>) -> Vec<At<T>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(key, value, &format!("a list: [{}]", rule.allowed));
            return Vec::new();
        };
        list.iter().filter_map(|item| self.convert(key, item, rule)).collect()
    }

    /// A table whose keys are free; names and values go by `rule`.
    pub(super) fn pairs(&mut self, key: &'static str, rule: &Rule<'_, String>) -> Vec<(String, String)> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, value, "a table of texts, such as { hypervisor = \"kvm3\" }");
            return Vec::new();
        };
        table.iter().filter_map(|(name, value)| self.pair(key, name, value, rule)).collect()
    }

    fn pair(
        &self,
        key: &str,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        rule: &Rule<'_, String>,
    ) -> Option<(String, String)> {
        let path = format!("{key}.{}", name.get_ref());
        if let Err(wrong) = (rule.parse)(name.get_ref()) {
            let line = self.line_of(&name.span());
            self.findings.add(line, &self.key(key), format!("the name {wrong}"), rule.allowed);
            return None;
        }
        let value = self.convert(&path, value, rule)?.value;
        Some((name.get_ref().to_string(), value))
    }

    fn inner(&self, path: String, value: &'a Spanned<DeValue<'a>>) -> Self {
        Section {
            path,
            line: self.line_of(&value.span()),
            table: value.get_ref().as_table(),
            known: Vec::new(),
            findings: self.findings,
        }
    }

    /// A table in this one; empty where it is absent.
    pub(super) fn section(&mut self, key: &'static str) -> Self {
        let path = self.key(key);
        match self.get(key) {
            Some(value) => {
                if !value.get_ref().is_table() {
                    self.wrong_type(key, value, &format!("a table: [{key}]"));
                }
                self.inner(path, value)
            }
            None => Section { path, line: self.line, table: None, known: Vec::new(), findings: self.findings },
        }
    }

    /// True where the file has this section.
    pub(super) fn is_given(&self) -> bool {
        self.table.is_some()
    }

    /// A list of tables in this one.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let allowed = format!("tables: [[{}]]", self.key(key));
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(key, value, &allowed);
            return Vec::new();
        };
        let (tables, others): (Vec<_>, Vec<_>) = list.iter().partition(|item| item.get_ref().is_table());
        for other in others {
            self.wrong_type(key, other, &allowed);
        }
        tables.into_iter().map(|table| self.inner(self.key(key), table)).collect()
    }

    /// Notes every key that was not asked for.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for (key, _) in table {
            if !self.known.contains(&key.get_ref().as_ref()) {
                let line = self.line_of(&key.span());
                let name = self.key(&key.get_ref().escape_debug().to_string());
                self.findings.add(line, &name, "is not a key".into(), &self.known.join(", "));
            }
        }
    }
}
