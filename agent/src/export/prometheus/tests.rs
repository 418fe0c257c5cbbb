use super::*;
use crate::samples;

fn metrics(shared: &Arc<Shared>) -> String {
    render(shared, Path::new("/nonexistent")).unwrap()
}

#[test]
fn every_metric_of_an_agent_at_work() {
    insta::assert_snapshot!(metrics(&samples::busy()));
}

#[test]
fn what_cannot_be_measured_is_absent() {
    let text = metrics(&samples::shared());
    for name in [
        "lacuna_peer_up",
        "lacuna_mark",
        "lacuna_clock_offset",
        "lacuna_timer_lateness",
        "lacuna_runqueue_delay",
        "lacuna_tcp_retransmits",
        "lacuna_packet_drops",
        "lacuna_events_lost",
        "lacuna_steal",
        "process_",
    ] {
        assert!(!text.contains(name), "{name} in\n{text}");
    }
    let busy = metrics(&samples::busy());
    assert!(!busy.contains("lacuna_peer_up{peer=\"lb2\"}"), "never heard");
    assert!(!busy.contains("lacuna_heartbeats_sent_total{peer=\"gateway\""), "an anchor");
    assert!(!busy.contains("192.0.2.7"), "no label comes from a packet");
    assert!(busy.contains("lacuna_tcp_retransmits_total{peer=\"other\",kind=\"syn\"} 5"));
}

#[test]
fn the_trace_of_the_newest_incident_is_an_exemplar_and_no_label() {
    let shared = samples::busy();
    let trace = samples::host_down().trace_id.to_string();
    let line = format!("lacuna_incidents_opened_total 2 # {{trace_id=\"{trace}\"}} 1.0\n");
    let text = metrics(&shared);
    assert!(text.contains(&line), "{text}");
    assert_eq!(text.matches(&trace).count(), 1);
    assert!(metrics(&samples::shared()).contains("lacuna_incidents_opened_total 0\n"));
}

#[test]
fn a_peer_that_nothing_was_sent_again_to_has_a_0_where_that_is_counted() {
    assert!(metrics(&samples::busy()).contains("lacuna_tcp_retransmits_total{peer=\"lb2\",kind=\"fast\"} 0\n"));
    assert!(!metrics(&samples::busy()).contains("lacuna_tcp_retransmits_total{peer=\"gateway\""));
}

#[test]
fn the_process_is_measured_where_proc_is() {
    let text = render(&samples::shared(), Path::new("/")).unwrap();
    for name in [
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_start_time_seconds ",
    ] {
        assert!(text.contains(name), "{name} not in\n{text}");
    }
}

#[test]
fn two_peers_on_one_address_are_not_told_apart_by_retransmits() {
    let shared = samples::busy();
    let mut twin = shared.peers.read()[0].clone();
    twin.name = "twin".into();
    shared.peers.write().push(twin);
    let text = metrics(&shared);
    assert!(text.contains("{peer=\"other\",kind=\"timeout\"} 13"), "{text}");
}
