//! The binary, as a user runs it.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A command to its end.
pub(crate) fn lacuna(words: &[&str]) -> Output {
    command(words).output().unwrap()
}

/// A command that has not begun.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lacuna"));
    command.args(words).env_remove("LACUNA_LOG");
    command
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// An agent in a network namespace of its own, since one without peers watches the default gateway: there is none.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(config: &str) -> Self {
        let script = "ip link set lo up && exec \"$@\"";
        let words = ["--net", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_lacuna"), "agent", "--config", config];
        Self(Command::new("unshare").args(words).stderr(Stdio::null()).spawn().unwrap())
    }

    /// A command where the agent listens.
    pub(crate) fn lacuna(&self, words: &[&str]) -> Output {
        let net = format!("--net=/proc/{}/ns/net", self.0.id());
        let mut command = Command::new("nsenter");
        command.arg(net).arg(env!("CARGO_BIN_EXE_lacuna")).args(words).env_remove("LACUNA_LOG").output().unwrap()
    }

    pub(crate) fn end(mut self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
