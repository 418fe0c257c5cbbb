//! The emulator's control socket: QMP, a JSON object a line (QEMU's docs/interop/qmp-spec.rst).

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

/// How long the emulator may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Events that may come before an answer.
const MAX_EVENTS: usize = 10_000;

/// A connection; questions are asked one after the other.
#[derive(Debug)]
pub(crate) struct Qmp {
    lines: BufReader<UnixStream>,
    /// The number of the last question.
    last: u64,
    /// What came of a line whose rest is still missing: an answer that was late.
    part: String,
}

impl Qmp {
    /// Over a connection that has just been made.
    pub(crate) fn over(socket: UnixStream) -> Result<Self> {
        let mut qmp = Self { lines: BufReader::new(socket), last: 0, part: String::new() };
        qmp.ask("qmp_capabilities", json!({}), PATIENCE)?;
        Ok(qmp)
    }

    /// Runs a command; what it returns.
    pub(crate) fn run(&mut self, command: &str, arguments: Value) -> Result<Value> {
        self.ask(command, arguments, PATIENCE)
    }

    /// The same, with another patience.
    pub(crate) fn ask(&mut self, command: &str, arguments: Value, patience: Duration) -> Result<Value> {
        self.last += 1;
        let end = Instant::now() + patience;
        let question = json!({ "execute": command, "arguments": arguments, "id": self.last });
        writeln!(self.lines.get_mut(), "{question}").context("QMP")?;
        for _ in 0..MAX_EVENTS {
            let line = self.line(end).with_context(|| format!("QMP: {command}: no answer in {patience:?}"))?;
            if let Some(answer) = answer(&line, self.last)? {
                return answer.with_context(|| format!("QMP: {command}"));
            }
        }
        bail!("QMP: {command}: too many events");
    }

    fn line(&mut self, end: Instant) -> Result<String> {
        let left = end.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "too late");
        self.lines.get_ref().set_read_timeout(Some(left))?;
        let length = self.lines.read_line(&mut self.part)?;
        ensure!(length > 0, "the emulator has ended");
        Ok(std::mem::take(&mut self.part))
    }
}

/// What the line answers to that question: none where it is an event, the greeting, or the answer to an earlier one.
fn answer(line: &str, number: u64) -> Result<Option<Result<Value>>> {
    let mut message: Value = serde_json::from_str(line).with_context(|| format!("QMP said {line}"))?;
    if message.get("id").and_then(Value::as_u64) != Some(number) {
        return Ok(None);
    }
    if let Some(error) = message.get("error") {
        let text = error.get("desc").and_then(Value::as_str).unwrap_or_default().to_owned();
        return Ok(Some(Err(anyhow::anyhow!(text))));
    }
    Ok(message.get_mut("return").map(|value| Ok(value.take())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let greeting = r#"{"QMP": {"version": {}, "capabilities": []}}"#;
        let event = r#"{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}"#;
        for line in [greeting, event, r#"{"return": {}, "id": 6}"#] {
            assert!(answer(line, 7).unwrap().is_none(), "{line}");
        }
        let returned = answer(r#"{"return": [1], "id": 7}"#, 7).unwrap().unwrap();
        assert_eq!(returned.unwrap(), json!([1]));
        let failed = answer(r#"{"id": 7, "error": {"class": "GenericError", "desc": "no such device"}}"#, 7);
        assert!(failed.unwrap().unwrap().unwrap_err().to_string().contains("no such device"));
        assert!(answer("no JSON", 7).is_err());
    }

    #[test]
    fn a_silent_emulator_is_not_waited_for() {
        let (mine, _other) = UnixStream::pair().unwrap();
        let mut qmp = Qmp { lines: BufReader::new(mine), last: 0, part: String::new() };
        let started = Instant::now();
        let error = qmp.ask("stop", json!({}), Duration::from_millis(50)).unwrap_err();
        assert!(format!("{error:#}").contains("stop"), "{error:#}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
