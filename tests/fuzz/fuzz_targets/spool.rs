//! Whatever an agent before has left of its spool, the next one gets to the end of it, and sends what it adds itself. An input is
//! the number of a file, the length of what the progress says, that, and what the file has.
#![no_main]

use std::fs;

use lacuna::traces::Spool;
use libfuzzer_sys::fuzz_target;

/// More than the longest input.
const MOST: u64 = 1 << 20;
/// Of one request, as the agent asks for.
const AT_ONCE: usize = 1000;

fuzz_target!(|left: &[u8]| {
    let [number, length, rest @ ..] = left else { return };
    let (progress, spans) = rest.split_at(rest.len().min(usize::from(*length)));
    let folder = std::env::temp_dir().join(format!("lacuna-fuzz-spool-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("{number:020}.spans")), spans).expect("a file");
    fs::write(folder.join("sent"), progress).expect("a file");
    let mut spool = Spool::open(&folder, MOST).expect("it opens");
    drain(&mut spool, spans.len());
    spool.put(b"mine", 1).expect("it writes");
    assert_eq!(drain(&mut spool, 4), b"mine");
    fs::remove_dir_all(&folder).expect("it is gone");
});

/// All that waits, which is no more than was written.
fn drain(spool: &mut Spool, written: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    while let Some(batch) = spool.next(AT_ONCE).expect("it reads") {
        sent.extend_from_slice(&batch.request);
        assert!(sent.len() <= written, "more than there was");
        spool.done(&batch).expect("it writes");
    }
    assert_eq!(spool.waiting_spans(), 0);
    sent
}
