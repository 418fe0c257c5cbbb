//! No code before an address makes the judge of landings panic.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use lacuna::host::HostFiles;
use lacuna::probes::{LandingKind, RawLanding};
use libfuzzer_sys::fuzz_target;

/// The way in, and the function that was interrupted.
const SYMBOLS: &str = "ffffffff81000000 T asm_sysvec_apic_timer_interrupt\nffffffff81000100 t ext4_write\n";

static FILES: LazyLock<HostFiles> = LazyLock::new(|| {
    let root: PathBuf = std::env::temp_dir().join(format!("lacuna-fuzz-landing-{}", std::process::id()));
    fs::create_dir_all(root.join("proc")).expect("a folder");
    fs::write(root.join("proc/kallsyms"), SYMBOLS).expect("a file");
    HostFiles::below(&root)
});

fuzz_target!(|code: [[u8; 32]; 3]| {
    let frames = vec![0xffff_ffff_8100_0010, 0xffff_ffff_8100_0110, 0xffff_ffff_8100_0120];
    let (at, silence) = Default::default();
    let landing = RawLanding { at, silence, kind: LandingKind::Sample, frames, code: code.to_vec() };
    let landed = FILES.landed(&landing, |_| Some(1));
    assert_eq!(landed.stack.len(), 2);
});
