//! A terminal to run programs on: what they show is known, keys can be pressed, and its size can change.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{InputModes, LocalModes, OutputModes, Winsize, tcgetattr, tcsetwinsize};

/// What a program writes that leaves the second screen of a terminal.
pub(crate) const LEAVES: &str = "\u{1b}[?1049l";
/// The question where the cursor is, and an answer.
const WHERE: &[u8] = b"\x1b[6n";
const HERE: &[u8] = b"\x1b[1;1R";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the terminal treats keys and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Modes(InputModes, OutputModes, LocalModes);

/// A program on a terminal.
pub(crate) struct Session {
    child: Child,
    master: File,
    /// Open as long as this is, so that the terminal stays when the program ends.
    slave: File,
    seen: Arc<Mutex<Seen>>,
    reader: Option<JoinHandle<()>>,
    /// Before the program began.
    before: Modes,
}

/// What the program wrote.
struct Seen {
    screen: vt100::Parser,
    said: Vec<u8>,
}

/// A program that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// All that it wrote.
    pub(crate) said: String,
    /// What stands on the terminal.
    pub(crate) screen: String,
    pub(crate) cursor_is_visible: bool,
    /// The terminal before it began, and after it ended.
    pub(crate) before: Modes,
    pub(crate) after: Modes,
}

impl Session {
    /// Runs a program of which only name, arguments and changed variables count, as the leader of a session of its own.
    pub(crate) fn start(program: &Command, rows: u16, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, size(rows, columns)).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = std::ffi::OsStr::from_bytes(name.as_bytes()).to_owned();
        let slave = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let before = modes(&slave);
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.get_program()).args(program.get_args());
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("LACUNA_LOG");
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let master = File::from(master);
        let screen = vt100::Parser::new(rows, columns, 0);
        let seen = Arc::new(Mutex::new(Seen { screen, said: Vec::new() }));
        let reader = Some(read(master.try_clone().unwrap(), Arc::clone(&seen)));
        Self { child, master, slave, seen, reader, before }
    }

    /// What stands on the terminal now.
    pub(crate) fn screen(&self) -> String {
        self.seen.lock().unwrap().screen.screen().contents()
    }

    /// Waits until that text stands on the terminal.
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(text, |screen| screen.contains(text));
    }

    /// Waits until that text does not stand on the terminal.
    pub(crate) fn wait_without(&self, text: &str) {
        self.wait_until(text, |screen| !screen.contains(text));
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let began = Instant::now();
        while !is_so(&self.screen()) {
            assert!(began.elapsed() < PATIENCE, "waited for \"{what}\":\n{}", self.screen());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        self.seen.lock().unwrap().screen.screen_mut().set_size(rows, columns);
        tcsetwinsize(&self.master, size(rows, columns)).unwrap();
    }

    /// Its process id.
    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Waits until it has ended.
    pub(crate) fn end(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.screen());
            thread::sleep(Duration::from_millis(20));
        };
        let after = modes(&self.slave);
        // What it wrote last is read as long as the terminal is there.
        drop(std::mem::replace(&mut self.slave, File::open("/dev/null").unwrap()));
        self.reader.take().unwrap().join().unwrap();
        let seen = self.seen.lock().unwrap();
        let screen = seen.screen.screen();
        Ended {
            status,
            said: String::from_utf8_lossy(&seen.said).into_owned(),
            screen: screen.contents(),
            cursor_is_visible: !screen.hide_cursor(),
            before: self.before,
            after,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until nobody has the terminal open any more, and answers as a terminal does.
fn read(mut master: File, seen: Arc<Mutex<Seen>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = master.read(&mut bytes) {
            let new = &bytes[..read];
            if new.windows(WHERE.len()).any(|part| part == WHERE) {
                master.write_all(HERE).unwrap();
            }
            let mut seen = seen.lock().unwrap();
            seen.screen.process(new);
            seen.said.extend_from_slice(new);
        }
    })
}

fn modes(terminal: &File) -> Modes {
    let now = tcgetattr(terminal).unwrap();
    Modes(now.input_modes, now.output_modes, now.local_modes)
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
