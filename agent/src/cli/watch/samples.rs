//! States that the tests of this folder share.

use lacuna_core::time::Nanos;

use super::feed::Update;
use super::state::State;
use crate::export::json::Status;
use crate::samples;
use crate::shared::CpuStatus;

/// So many seconds after the watch began.
pub(super) fn at(seconds: u64) -> Nanos {
    Nanos(seconds * 1_000_000_000)
}

/// What a busy agent answers.
pub(super) fn status() -> Box<Status> {
    Box::new(Status::of(&samples::busy(), samples::now()))
}

/// Nothing was answered yet.
pub(super) fn asking() -> State {
    let mut state = State::new("http://127.0.0.1:9480".into(), false);
    state.at(at(0));
    state
}

/// A busy agent that is watched for a minute, with an incident that is open and one that ended. Of lb1 2 of 100 heartbeats
/// were lost, of those to it 5 of 50, and CPU 0 was not run for 20 ms of the last second.
pub(super) fn busy() -> State {
    let mut state = asking();
    state.take(Update::List(vec![samples::path_drop(), samples::host_down()]), at(0));
    for second in [0, 59, 60] {
        let mut status = status();
        let beats = status.peers[0].heartbeats.as_mut().unwrap();
        if second == 60 {
            beats.sent += 50;
            beats.received += 98;
            beats.lost_from_peer += 2;
            beats.lost_to_peer = beats.lost_to_peer.map(|lost| lost + 5);
            status.cpus[0].steal_seconds_total = status.cpus[0].steal_seconds_total.map(|total| total + 0.02);
        }
        state.take(Update::Status(status), at(second));
    }
    state
}

/// A host with so many CPUs and peers.
pub(super) fn large(cpus: u32, peers: usize) -> State {
    let mut state = asking();
    let mut status = status();
    status.cpus = (0..cpus)
        .map(|cpu| CpuStatus {
            cpu,
            busy: Some(f64::from(cpu) / f64::from(cpus)),
            steal_seconds_total: Some(1.0),
            watched: true,
        })
        .collect();
    let up = status.peers[0].clone();
    let named = |number: usize| crate::export::json::Peer { name: format!("web{number:03}"), ..up.clone() };
    status.peers = (0..peers).map(named).collect();
    status.open_incidents.clear();
    state.take(Update::List((0..40).map(samples::numbered).collect()), at(0));
    state.take(Update::Status(status), at(1));
    state
}

/// The open incident as it ends.
pub(super) fn ended() -> Update {
    let open = samples::host_down();
    let state = lacuna_core::incident::State::Closed;
    let ended_at = Some("2026-11-23T08:01:00.000Z".to_owned());
    Update::Changed(Box::new(lacuna_core::incident::Incident { state, ended_at, provisional: false, ..open }))
}

/// No incident at all.
pub(super) fn quiet() -> State {
    let mut state = asking();
    let shared = samples::shared();
    *shared.ready.write() = true;
    state.take(Update::List(Vec::new()), at(0));
    state.take(Update::Status(Box::new(Status::of(&shared, samples::now()))), at(0));
    state
}
