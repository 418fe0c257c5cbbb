use proptest::prelude::*;

use super::*;

const MOST: u64 = 64 << 10;

fn spool(folder: &Path) -> Spool {
    Spool::open(folder, MOST).unwrap()
}

/// Sends all that waits, as the agent does; what the collector has then.
fn drain(spool: &mut Spool) -> Vec<u8> {
    let mut sent = Vec::new();
    while let Some(batch) = spool.next(100).unwrap() {
        sent.extend_from_slice(&batch.request);
        spool.done(&batch).unwrap();
    }
    sent
}

#[test]
fn what_is_put_is_sent_in_order_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = spool(dir.path());
    assert_eq!(spool.next(100).unwrap(), None);
    spool.put(b"one ", 1).unwrap();
    spool.put(b"two ", 2).unwrap();
    assert_eq!(spool.waiting_spans(), 3);
    assert_eq!(drain(&mut spool), b"one two ");
    spool.put(b"three", 1).unwrap();
    assert_eq!((drain(&mut spool), spool.waiting_spans()), (b"three".to_vec(), 0));
}

#[test]
fn a_batch_is_bounded_and_one_long_record_goes_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = spool(dir.path());
    for byte in 0..3 {
        spool.put(&[byte; 60], 1).unwrap();
    }
    spool.put(&[9; 500], 1).unwrap();
    let mut lengths = Vec::new();
    while let Some(batch) = spool.next(130).unwrap() {
        lengths.push(batch.request.len());
        spool.done(&batch).unwrap();
    }
    assert_eq!(lengths, [120, 60, 500]);
}

#[test]
fn a_file_that_was_sent_and_is_gone_has_no_part_in_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = spool(dir.path());
    first.put(b"a long one", 1).unwrap();
    drain(&mut first);
    drop(first);
    assert_eq!(drain(&mut spool(dir.path())), b"");
    let mut third = spool(dir.path());
    third.put(b"short", 1).unwrap();
    assert_eq!(drain(&mut third), b"short");
}

#[test]
fn what_was_not_sent_is_there_after_a_restart_and_what_was_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = spool(dir.path());
    before.put(b"one ", 1).unwrap();
    let batch = before.next(100).unwrap().unwrap();
    before.done(&batch).unwrap();
    before.put(b"two ", 2).unwrap();
    let in_flight = before.next(100).unwrap().unwrap();
    assert_eq!(in_flight.request, b"two ");
    drop(before);
    let mut after = spool(dir.path());
    assert_eq!(after.waiting_spans(), 2);
    after.put(b"three ", 1).unwrap();
    assert_eq!(drain(&mut after), b"two three ");
    let files = fs::read_dir(dir.path()).unwrap().filter(|entry| number_of(&entry.as_ref().unwrap().path()).is_some());
    assert_eq!(files.count(), 1, "what was sent is gone but for the file that is written");
}

#[test]
fn a_torn_or_damaged_file_is_read_up_to_there_and_the_next_one_as_well() {
    for (cut, flip) in [(Some(30), None), (None, Some(25)), (Some(21), None), (None, Some(3))] {
        let dir = tempfile::tempdir().unwrap();
        let mut before = spool(dir.path());
        before.put(b"one ", 1).unwrap();
        before.put(b"two ", 1).unwrap();
        let path = before.path(1);
        drop(before);
        let mut content = fs::read(&path).unwrap();
        if let Some(cut) = cut {
            content.truncate(cut);
        }
        if let Some(flip) = flip {
            content[flip] ^= 1;
        }
        fs::write(&path, content).unwrap();
        let mut after = spool(dir.path());
        after.put(b"three", 1).unwrap();
        let expected: &[u8] = if flip == Some(3) { b"three" } else { b"one three" };
        assert_eq!(drain(&mut after), expected, "{cut:?} {flip:?}");
        assert_eq!(after.lost().get(&Lost::Damaged), Some(&1), "{cut:?} {flip:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_became_of_a_file_what_is_read_of_it_was_written(
        lengths in proptest::collection::vec(0..60_usize, 1..8),
        place in any::<prop::sample::Index>(),
        change in proptest::option::of(1..=255_u8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut before = spool(dir.path());
        let put: Vec<Vec<u8>> = (b'a'..).zip(&lengths).map(|(byte, length)| vec![byte; *length]).collect();
        put.iter().for_each(|request| before.put(request, 1).unwrap());
        let path = before.path(1);
        drop(before);
        let mut content = fs::read(&path).unwrap();
        let place = place.index(content.len());
        match change {
            Some(change) => content[place] ^= change,
            None => content.truncate(place),
        }
        fs::write(&path, content).unwrap();
        let mut after = spool(dir.path());
        after.put(b"next", 1).unwrap();
        let sent = drain(&mut after);
        let read = sent.strip_suffix(b"next").expect("a file of its own");
        prop_assert!(put.concat().starts_with(read));
        let damaged = after.lost().get(&Lost::Damaged).copied().unwrap_or(0);
        // What was cut off between two records leaves no sign.
        prop_assert!(change.is_none() || damaged > 0);
        prop_assert_eq!(after.waiting_spans(), 0);
    }
}

#[test]
fn where_there_is_no_room_the_oldest_go_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = spool(dir.path());
    let in_flight = {
        spool.put(&[0; 1000], 1).unwrap();
        spool.next(100).unwrap().unwrap()
    };
    for number in 1..200_u8 {
        spool.put(&[number; 1000], 1).unwrap();
    }
    assert!(spool.waiting_bytes() <= MOST);
    let waiting = spool.waiting_spans();
    assert_eq!(waiting + spool.lost()[&Lost::Full], 200);
    spool.done(&in_flight).unwrap();
    assert_eq!(spool.waiting_spans(), waiting, "what was in flight had to go meanwhile");
    let sent = drain(&mut spool);
    assert_eq!((sent.len() as u64, sent.last()), (waiting * 1000, Some(&199)));
}

#[test]
fn a_disk_that_takes_nothing_is_told_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = spool(dir.path());
    fs::remove_dir_all(dir.path()).unwrap();
    assert!(spool.put(b"one", 3).is_err());
    assert_eq!(spool.lost()[&Lost::Disk], 3);
    fs::create_dir_all(dir.path()).unwrap();
    spool.put(b"two", 1).unwrap();
    assert_eq!(drain(&mut spool), b"two");
}
