//! x
use lacuna::probes::{Options, attach};
use std::time::Duration;
#[test]
fn all() {
    let t = std::time::Instant::now();
    let probes = attach(&Options {
        netns_inum: 0,
        timer_late: Duration::from_millis(1),
        runqueue_delay: Duration::from_millis(2),
    });
    println!("{:?} {:#?}", t.elapsed(), probes.status);
    std::thread::sleep(Duration::from_secs(2));
    let m = probes.metrics.as_ref().unwrap();
    println!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?} {:?}",
        m.timer_lateness(),
        m.timer_gaps(),
        m.runqueue_delay(),
        m.retransmits(),
        m.drops(),
        m.events_lost()
    );
    let mut e = probes.events.unwrap();
    let mut v = vec![];
    e.drain("me", &mut v);
    println!("{v:?}");
}
