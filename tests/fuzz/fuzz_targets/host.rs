//! No file of /proc and /sys makes its reader panic.
//!
//! The first byte of the input says which file has the rest of it.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lacuna::host::HostFiles;
use lacuna::host::cgroup::OwnGroups;
use lacuna::host::stat::StatFile;
use lacuna::host::threads::ThreadTimes;
use lacuna::probes::{LandingKind, RawLanding};
use libfuzzer_sys::fuzz_target;

type Reader = fn(&HostFiles);

/// Every file that is more than one word, and who reads it.
const FILES: [(&str, Reader); 21] = [
    ("proc/sys/kernel/random/boot_id", |files| keep(files.boot_id())),
    ("proc/net/route", |files| keep(files.default_gateway())),
    ("proc/thread-self/schedstat", |files| keep(ThreadTimes::new(files).ran_and_waited_ns())),
    ("proc/stat", stat),
    ("proc/pressure/cpu", |files| keep(files.cpu_pressure_us())),
    ("proc/pressure/io", |files| keep(files.io_pressure())),
    ("proc/interrupts", |files| keep(files.interrupts())),
    ("proc/thread-self/net/snmp", |files| keep((files.protocol_counters(), files.wrong_checksums()))),
    ("proc/thread-self/net/netstat", |files| keep(files.protocol_counters())),
    ("proc/thread-self/net/snmp6", |files| keep(files.protocol_counters())),
    ("proc/thread-self/net/softnet_stat", |files| keep(files.softnet())),
    ("proc/7/stat", |files| keep((files.task(7), files.blocked_tasks()))),
    ("proc/7/status", |files| keep(files.switches(7))),
    ("proc/7/wchan", |files| keep(files.blocked_tasks())),
    ("proc/self/task/8/stat", |files| keep(files.own_threads())),
    ("proc/self/cgroup", throttled),
    ("sys/fs/cgroup/lab/cpu.stat", throttled),
    ("sys/devices/system/cpu/online", topology),
    ("sys/devices/system/cpu/isolated", topology),
    ("proc/irq/9/effective_affinity_list", topology),
    ("proc/kallsyms", landing),
];

/// What the other files say meanwhile.
const REST: [(&str, &str); 8] = [
    ("proc/7/stat", "7 (dd) D 1 7 7 0 -1 0 0 0 0 0 5 6 0 0 20 0 1 0 100 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0\n"),
    ("proc/7/task/7/comm", "dd\n"),
    ("proc/self/task/8/comm", "dd\n"),
    ("proc/self/cgroup", "0::/lab\n"),
    ("sys/devices/system/cpu/online", "0-3\n"),
    ("sys/class/net/eth0/flags", "0x1003\n"),
    ("sys/class/net/eth0/device/msi_irqs/9", "msi\n"),
    ("proc/irq/9/effective_affinity_list", "1\n"),
];

/// A folder of this process, in memory where there is a place for that.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let root = place.join(format!("lacuna-fuzz-host-{}", std::process::id()));
    REST.iter().for_each(|(path, text)| write(&root, path, text.as_bytes()));
    root
});

fuzz_target!(|input: &[u8]| {
    let Some((which, text)) = input.split_first() else { return };
    let (path, read) = FILES[usize::from(*which) % FILES.len()];
    write(&ROOT, path, text);
    read(&HostFiles::below(&ROOT));
    let before = REST.iter().find(|(known, _)| *known == path);
    match before {
        Some((_, text)) => write(&ROOT, path, text.as_bytes()),
        None => fs::remove_file(ROOT.join(path)).expect("a file that was written"),
    }
});

/// What nobody looks at must be read all the same.
fn keep<T>(value: T) {
    std::hint::black_box(value);
}

fn write(root: &Path, path: &str, text: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a path with folders")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn stat(files: &HostFiles) {
    let Some(stat) = StatFile::new(files).read() else { return };
    let delta = stat.since(&stat);
    keep((lacuna::host::stat::shares(&delta), lacuna::host::stat::most_stolen(&delta, &[None, Some(0)])));
}

fn throttled(files: &HostFiles) {
    keep(OwnGroups::new(files.clone()).throttled_ns());
}

fn topology(files: &HostFiles) {
    keep((files.topology().map(|topology| topology.covered()), files.network_cpus()));
}

fn landing(files: &HostFiles) {
    let landing = RawLanding {
        at: Default::default(),
        silence: Default::default(),
        kind: LandingKind::Sample,
        frames: vec![0xffff_ffff_8100_0000, 0xffff_ffff_8200_0010, u64::MAX],
        code: vec![[0xfb; 32]; 3],
    };
    keep((files.landmarks().landed(&landing), files.landed(&landing, |_| None)));
}
