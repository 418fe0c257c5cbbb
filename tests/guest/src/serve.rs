//! The second serial port: lines in, lines out.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use crate::control::Control;
use crate::cpu;
use crate::request::Request;

const PORT: &str = "/dev/ttyS1";
/// The interrupt of the second serial port of a PC.
const INTERRUPT: &str = "/proc/irq/3/smp_affinity_list";
/// The CPUs of workers that are bound to none.
const WORKERS: &str = "/sys/devices/virtual/workqueue/cpumask";
/// How long nobody looks whether a job has ended, in milliseconds.
const LOOK: u16 = 5;
/// Bytes of a line.
const LONGEST: usize = 4096;

/// Serves the port for ever.
pub(crate) fn lines() -> Result<()> {
    let mut port = open()?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    tell(&mut port, &format!("hello {}", boot.trim()))?;
    let mut control = Control::default();
    let mut line = Vec::new();
    loop {
        poll(&mut [PollFd::new(port.as_fd(), PollFlags::POLLIN)], PollTimeout::from(LOOK))?;
        while let Some(text) = next_line(&mut port, &mut line)? {
            let answer = answer(&mut control, &text);
            tell(&mut port, &answer)?;
        }
        for (number, how) in control.jobs.ended() {
            tell(&mut port, &format!("done {number} {how}"))?;
        }
        control.agent.pass_log_on()?;
    }
}

fn open() -> Result<File> {
    let port = File::options().read(true).write(true).custom_flags(O_NOCTTY | O_NONBLOCK).open(PORT).context(PORT)?;
    let mut settings = tcgetattr(&port)?;
    cfmakeraw(&mut settings);
    tcsetattr(&port, SetArg::TCSANOW, &settings)?;
    Ok(port)
}

fn answer(control: &mut Control, line: &str) -> String {
    let request = match Request::parse(line) {
        Ok(request) => request,
        Err(error) => return format!("0 error {error:#}"),
    };
    match move_to(request.cpu).and_then(|()| control.perform(&request)) {
        Ok(text) => format!("{} ok {text}", request.number),
        Err(error) => format!("{} error {}", request.number, format!("{error:#}").replace('\n', " | ")),
    }
}

/// This thread, the interrupt of the port and the kernel's own workers, which hand lines on, go to the CPU that is
/// told, which is not the one that will stall: a CPU that stands still looks idle to the scheduler, and gets work.
fn move_to(cpu: usize) -> Result<()> {
    cpu::pin(cpu)?;
    let mask = format!("{:x}", 1_u64 << cpu);
    if std::fs::read_to_string(WORKERS).is_ok_and(|now| now.trim() != mask) {
        std::fs::write(WORKERS, mask).context(WORKERS)?;
    }
    if Path::new(INTERRUPT).exists() {
        std::fs::write(INTERRUPT, cpu.to_string()).context(INTERRUPT)?;
    }
    Ok(())
}

/// The next whole line, where there is one.
fn next_line(port: &mut File, line: &mut Vec<u8>) -> Result<Option<String>> {
    let mut byte = [0];
    loop {
        match port.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) if byte == *b"\n" => return Ok(Some(String::from_utf8_lossy(&std::mem::take(line)).into_owned())),
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context(PORT),
        }
        ensure!(line.len() <= LONGEST, "a line is too long");
    }
}

fn tell(port: &mut File, text: &str) -> Result<()> {
    let line = format!("{text}\n");
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        match port.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                poll(&mut [PollFd::new(port.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(LOOK))?;
            }
            Err(error) => return Err(error).context(PORT),
        }
    }
    Ok(())
}
