//! A guest: the emulator's process, its control socket, the serial port to the first process inside.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::Image;
use super::channel::Channel;
use super::erred::{look_for_breakpoints, look_for_standstill};
use super::qmp::Qmp;
use crate::lab::clock::{Moment, Stamp};
use crate::lab::netns::Namespace;
use crate::lab::network::GATEWAY;
use crate::stop::Stop;

/// Virtual CPUs of a guest.
pub(crate) const CPUS: u32 = 2;
/// Size of its disk, which holds nothing.
const DISK: u64 = 16 * 1024 * 1024;
/// By which the emulator knows the disk, and what a virtio disk has within for its blocks.
const DISK_ID: &str = "vd0";
const DISK_BLOCKS: &str = "/machine/peripheral/vd0/virtio-backend";
/// How long the emulator may take to open its sockets.
const START: Duration = Duration::from_secs(20);
/// How long a guest may take to come up; a few seconds on a quiet machine.
pub(crate) const BOOT: Duration = Duration::from_secs(90);
/// How long a request may take.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// The guest of that name has not come up: one boot in some hundreds stops in the kernel's first second, before any program ran.
#[derive(Debug)]
pub(crate) struct NotUp(String);

impl std::error::Error for NotUp {}

impl std::fmt::Display for NotUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} has not come up in {BOOT:?}", self.0)
    }
}

/// Where a guest runs and what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its address on the bridge.
    pub(crate) addr: Ipv4Addr,
    /// The tap device that is its link.
    pub(crate) tap: &'a str,
    /// The namespace of the tap.
    pub(crate) switch: &'a Namespace,
    /// Memory in MiB.
    pub(crate) memory: u32,
    /// The folder of the run.
    pub(crate) folder: &'a Path,
}

/// A running guest; the emulator is killed with this value.
#[derive(Debug)]
pub(crate) struct Guest {
    /// Its name.
    pub(crate) name: String,
    /// Where the run keeps its files.
    folder: PathBuf,
    child: Mutex<Child>,
    /// The process id of the emulator.
    pub(crate) pid: u32,
    /// The thread that runs each virtual CPU.
    pub(crate) threads: Vec<u32>,
    qmp: Mutex<Qmp>,
    channel: Channel,
}

impl Guest {
    /// Starts the emulator. The guest is not up yet when this returns.
    pub(crate) fn start(place: Place<'_>, image: &Image, archive: &[u8]) -> Result<Self> {
        let path = |ending: &str| place.folder.join(format!("{}.{ending}", place.name));
        std::fs::write(path("initrd"), archive).context("initrd")?;
        File::create(path("disk"))?.set_len(DISK)?;
        let log = File::create(path("qemu.log"))?;
        let mut child = command(place, image)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        match connect(place, &mut child) {
            Ok((channel, mut qmp)) => Ok(Self {
                name: place.name.to_owned(),
                folder: place.folder.to_owned(),
                pid: child.id(),
                threads: threads(&mut qmp)?,
                child: Mutex::new(child),
                qmp: Mutex::new(qmp),
                channel,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let said = std::fs::read_to_string(path("qemu.log")).unwrap_or_default();
                Err(error.context(format!("the emulator of {}: {}", place.name, said.trim())))
            }
        }
    }

    /// Waits until it has come up for the nth time; then its clock is this machine's.
    pub(crate) fn wait_until_up(&self, number: usize, stop: &Stop) -> Result<()> {
        let up = stop.wait_for(BOOT, || self.channel.boots() >= number || !self.alive())?;
        ensure!(up && self.alive(), NotUp(self.name.clone()));
        self.request(0, &format!("set-clock {}", Stamp::now()?.wall)).map(drop)
    }

    /// How often it has come up.
    pub(crate) fn boots(&self) -> usize {
        self.channel.boots()
    }

    /// Asks the first process, which serves it on `cpu`; the answer.
    pub(crate) fn request(&self, cpu: u32, request: &str) -> Result<String> {
        self.begin(cpu, request).map(|(_, answer)| answer)
    }

    /// The same for what ends by itself: a number by which its end is known, and the answer.
    pub(crate) fn begin(&self, cpu: u32, request: &str) -> Result<(u64, String)> {
        let number = self.channel.send(cpu, request)?;
        let answer = self.channel.answer(number, ANSWER).with_context(|| format!("{}: {request}", self.name))?;
        Ok((number, answer))
    }

    /// Whether the guest answers within that time, served by that CPU.
    pub(crate) fn answers(&self, cpu: u32, patience: Duration) -> bool {
        let asked = self.channel.send(cpu, "ping");
        asked.and_then(|number| self.channel.answer(number, patience)).is_ok()
    }

    /// When what was begun had ended, and how it ended.
    pub(crate) fn end(&self, number: u64, patience: Duration) -> Result<(Stamp, String)> {
        self.channel.end(number, patience).with_context(|| self.name.clone())
    }

    /// How what was begun has ended; none while it goes on.
    pub(crate) fn how_ended(&self, number: u64) -> Option<String> {
        self.channel.how_ended(number)
    }

    /// Lets its kernel tell on the console, which is kept, what its tasks and CPUs do. Of one that does not answer the
    /// emulator tells where its CPUs are.
    pub(crate) fn tell_where_it_is(&self) {
        if self.request(0, "sysrq t").and_then(|_| self.request(0, "sysrq l")).is_ok() {
            return;
        }
        for cpu in 0..CPUS {
            let registers = self.registers(cpu, ANSWER).unwrap_or_else(|error| format!("{error:#}"));
            eprintln!("{}: CPU {cpu}: {}", self.name, registers.trim());
        }
        let looked = look_for_breakpoints(&self.folder, &self.name, CPUS, |cpu| self.registers(cpu, ANSWER));
        if let Err(error) = looked {
            eprintln!("{}: {error:#}", self.name);
        }
    }

    /// Whether the emulator lets a CPU stand still that nobody froze; then the run counts for nothing.
    pub(crate) fn stands_still(&self, cpu: u32) -> Result<bool> {
        look_for_standstill(&self.folder, &self.name, cpu, || self.registers(cpu, ANSWER))
    }

    /// Runs a command of the emulator.
    pub(crate) fn qmp(&self, command: &str, arguments: Value) -> Result<Value> {
        let mut qmp = self.qmp.lock().unwrap_or_else(PoisonError::into_inner);
        qmp.run(command, arguments).with_context(|| self.name.clone())
    }

    /// Whether the emulator itself answers within that time.
    pub(crate) fn emulator_answers(&self, patience: Duration) -> bool {
        let mut qmp = self.qmp.lock().unwrap_or_else(PoisonError::into_inner);
        qmp.ask("query-status", json!({}), patience).is_ok()
    }

    /// Whether that CPU waits for an interrupt (`HLT` among its registers, as QEMU's `x86_cpu_dump_state` prints them).
    pub(crate) fn is_halted(&self, cpu: u32, patience: Duration) -> Result<bool> {
        let registers = self.registers(cpu, patience)?;
        let halted = registers.split_whitespace().find_map(|word| word.strip_prefix("HLT="));
        halted.map(|halted| halted == "1").with_context(|| format!("{}: no HLT among {registers}", self.name))
    }

    fn registers(&self, cpu: u32, patience: Duration) -> Result<String> {
        let mut qmp = self.qmp.lock().unwrap_or_else(PoisonError::into_inner);
        let question = json!({ "command-line": "info registers", "cpu-index": cpu });
        let answer = qmp.ask("human-monitor-command", question, patience).with_context(|| self.name.clone())?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// By how many nanoseconds its wall clock is ahead of this machine's.
    pub(crate) fn clock_ahead(&self) -> Result<i64> {
        let before = Stamp::now()?.wall;
        let wall: u64 = self.request(0, "clock")?.trim().parse().context("its clock")?;
        let middle = before.midpoint(Stamp::now()?.wall);
        Ok(wall.cast_signed() - middle.cast_signed())
    }

    /// Stops or continues the emulator's process, and sees that it stands still or does not.
    pub(crate) fn stop_emulator(&self, stopped: bool) -> Result<Moment> {
        let signal = if stopped { Signal::SIGSTOP } else { Signal::SIGCONT };
        let pid = Pid::from_raw(i32::try_from(self.pid)?);
        let (moment, ()) = Moment::of(|| {
            kill(pid, signal).context("signal to the emulator")?;
            let end = Instant::now() + START;
            while self.is_stopped()? != stopped {
                ensure!(Instant::now() < end, "the emulator of {} ignores {signal}", self.name);
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        })?;
        Ok(moment)
    }

    /// Whether the emulator's first thread is stopped: the state after the name in its `stat`.
    fn is_stopped(&self) -> Result<bool> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let state = stat.rsplit(") ").next().unwrap_or_default();
        Ok(state.starts_with('T'))
    }

    /// Resets it as a button would; when it did so.
    pub(crate) fn reset(&self) -> Result<Moment> {
        Moment::of(|| self.qmp("system_reset", json!({}))).map(|(moment, _)| moment)
    }

    /// Lets the disk serve so many bytes a second; 0 lifts the bound.
    pub(crate) fn throttle_disk(&self, bytes: u64) -> Result<()> {
        let bound =
            json!({ "id": DISK_BLOCKS, "bps": bytes, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0 });
        self.qmp("block_set_io_throttle", bound).map(drop)
    }

    /// Whether the emulator still runs.
    pub(crate) fn alive(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(child.try_wait(), Ok(None))
    }

    /// Ends it.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The emulator. Paths are relative to the folder of the run: those of sockets may not be long.
fn command(place: Place<'_>, image: &Image) -> Command {
    let Place { name, addr, tap, .. } = place;
    let mut command = place.switch.service("qemu-system-x86_64");
    command.current_dir(place.folder);
    command.args(["-name", &format!("{name},debug-threads=on"), "-nodefaults", "-no-user-config", "-display", "none"]);
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", &CPUS.to_string()]);
    command.args(["-m", &place.memory.to_string(), "-kernel"]).arg(&image.vmlinuz);
    command.args(["-initrd", &format!("{name}.initrd"), "-append", &kernel_arguments(name, addr)]);
    command.args(["-serial", &format!("file:{name}.log")]);
    command.args(["-serial", &format!("unix:{name}.port,server=on,wait=off")]);
    command.args(["-qmp", &format!("unix:{name}.qmp,server=on,wait=off")]);
    command.args(["-netdev", &format!("tap,id=net,ifname={tap},script=no,downscript=no")]);
    let [.., last] = addr.octets();
    command.args(["-device", &format!("virtio-net-pci,netdev=net,romfile=,mac=52:54:00:4d:00:{last:02x}")]);
    command.args(["-drive", &format!("if=none,id=disk,format=raw,file={name}.disk")]);
    command.args(["-device", &format!("virtio-blk-pci,drive=disk,id={DISK_ID}")]);
    command
}

/// `nox2apic` keeps the local APIC in memory, where its timer can be masked; watchdogs stay as Debian has them.
fn kernel_arguments(name: &str, addr: Ipv4Addr) -> String {
    format!("console=ttyS0 panic=-1 iomem=relaxed nox2apic lab.host={name} lab.address={addr}/24 lab.gateway={GATEWAY}")
}

fn connect(place: Place<'_>, child: &mut Child) -> Result<(Channel, Qmp)> {
    let folder = File::open(place.folder)?;
    let port = connect_to(&folder, &format!("{}.port", place.name), child)?;
    let control = connect_to(&folder, &format!("{}.qmp", place.name), child)?;
    Ok((Channel::over(port)?, Qmp::over(control)?))
}

/// A connection to a socket in that folder, by a path that is short however long that of the folder is.
fn connect_to(folder: &File, name: &str, child: &mut Child) -> Result<UnixStream> {
    use std::os::fd::AsRawFd as _;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
    let end = Instant::now() + START;
    while Instant::now() < end {
        if let Ok(socket) = UnixStream::connect(&path) {
            return Ok(socket);
        }
        ensure!(child.try_wait()?.is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{name} does not answer");
}

/// The thread of each virtual CPU, by its number.
fn threads(qmp: &mut Qmp) -> Result<Vec<u32>> {
    let answer = qmp.run("query-cpus-fast", json!({}))?;
    let cpus = answer.as_array().context("query-cpus-fast: no list")?;
    let mut threads: Vec<(u64, u32)> = Vec::new();
    for cpu in cpus {
        let figure = |name: &str| cpu.get(name).and_then(Value::as_u64).context(name.to_owned());
        threads.push((figure("cpu-index")?, u32::try_from(figure("thread-id")?)?));
    }
    threads.sort_unstable();
    Ok(threads.into_iter().map(|(_, thread)| thread).collect())
}
