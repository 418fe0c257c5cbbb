//! bird2's BFD between namespaces of the lab, asked over its control socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::netns::Namespace;
use crate::sh;
use crate::stop::Stop;

/// A running bird; it is killed with this value.
pub(crate) struct Bird {
    child: Child,
    socket: PathBuf,
}

impl Bird {
    /// Starts it as `name`, with a BFD session for each pair of an address of its own and one of the other end: 100 ms, three
    /// of them make it down.
    pub(crate) fn start(
        namespace: &Namespace,
        name: &str,
        sessions: &[(Ipv4Addr, Ipv4Addr)],
        folder: &Path,
    ) -> Result<Self> {
        let path = |ending: &str| folder.join(format!("bird-{name}.{ending}"));
        let (config, socket) = (path("conf"), path("sock"));
        std::fs::write(&config, text(sessions))?;
        // One that was killed leaves its socket behind, which would be taken for that of the new one.
        let _ = std::fs::remove_file(&socket);
        let log = std::fs::File::create(path("log"))?;
        let child = namespace
            .service("bird")
            .arg("-f")
            .arg("-c")
            .arg(&config)
            .arg("-s")
            .arg(&socket)
            .arg("-P")
            .arg(path("pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start bird (package bird2)")?;
        Ok(Self { child, socket })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection to its control socket, once that is there.
    pub(crate) fn connect(&self, stop: &Stop) -> Result<Control> {
        stop.wait_for(Duration::from_secs(10), || self.socket.exists())?;
        Control::open(&self.socket)
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection to bird's control socket; it is kept between questions.
pub(crate) struct Control(BufReader<UnixStream>);

impl Control {
    fn open(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("bird's control socket {}", socket.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut control = Self(BufReader::new(stream));
        control.answer().context("bird's greeting")?;
        Ok(control)
    }

    /// Whether its session is up, of which it has one.
    pub(crate) fn is_up(&mut self) -> Result<bool> {
        Ok(self.sessions_up()? == 1)
    }

    /// How many of its sessions are up.
    pub(crate) fn sessions_up(&mut self) -> Result<usize> {
        self.0.get_mut().write_all(b"show bfd sessions\n")?;
        let answer = self.answer()?;
        Ok(sessions_up(&answer))
    }

    /// Everything up to the line that ends an answer: a code below 1000, or one of an error, and a space.
    fn answer(&mut self) -> Result<String> {
        let mut answer = String::new();
        loop {
            let begin = answer.len();
            let read = self.0.read_line(&mut answer)?;
            let line = answer.get(begin..).unwrap_or_default();
            anyhow::ensure!(read > 0, "bird ended the connection");
            if ends_answer(line) {
                return Ok(answer);
            }
        }
    }
}

fn ends_answer(line: &str) -> bool {
    let code = line.get(..4).and_then(|code| code.parse::<u16>().ok());
    let last = line.as_bytes().get(4) == Some(&b' ');
    last && code.is_some_and(|code| !(1000..8000).contains(&code))
}

/// A row of the table is: address, interface, state, since, interval, timeout.
fn sessions_up(answer: &str) -> usize {
    let rows = answer.lines().map(|line| line.split_whitespace());
    rows.filter_map(|mut row| row.nth(2)).filter(|state| *state == "Up").count()
}

fn text(sessions: &[(Ipv4Addr, Ipv4Addr)]) -> String {
    let id = sessions.first().map_or(Ipv4Addr::LOCALHOST, |(own, _)| *own);
    let mut text = format!(
        "router id {id};\n\
         log stderr all;\n\
         protocol device {{ }}\n\
         protocol bfd {{\n\
         \x20 interface \"eth0\" {{ interval 100 ms; multiplier 3; }};\n"
    );
    for (own, peer) in sessions {
        text += &format!("  neighbor {peer} dev \"eth0\" local {own};\n");
    }
    text + "}\n"
}

/// The version of the bird that is installed.
pub(crate) fn version() -> Result<String> {
    let mut bird = sh::command(&["sh", "-c", "bird --version 2>&1"]);
    Ok(sh::output(&mut bird, "")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_sessions_is_read() {
        let head = "1020-bfd1:\n IP address  Interface  State      Since         Interval  Timeout\n";
        let row = |state| format!("{head} 10.77.0.12  eth0  {state}  10:11:12.000  0.100  0.300\n");
        assert_eq!(sessions_up(&row("Up")), 1);
        assert_eq!(sessions_up(&row("Down")), 0);
        assert_eq!(sessions_up(head), 0);
        let two = row("Up") + " 10.77.0.13  eth0  Up  10:11:12.000  0.100  0.300\n";
        assert_eq!(sessions_up(&two), 2);
    }

    #[test]
    fn only_the_last_line_ends_an_answer() {
        for (line, expected) in [
            ("0001 BIRD 2.0.12 ready.\n", true),
            ("1020-bfd1:\n", false),
            (" 10.77.0.12 eth0 Up\n", false),
            ("0000 \n", true),
            ("9001 syntax error\n", true),
        ] {
            assert_eq!(ends_answer(line), expected, "{line}");
        }
    }
}
