//! Evidence in words: one sentence a piece, with its figures.

use std::time::Duration;

use lacuna_core::completeness::Completeness;
use lacuna_core::evidence::{AgentLate, ClaimKind, CpuLoad, Fact, Heartbeat, RetransmitCause, StallReport, VipClaim};
use lacuna_core::incident::{AgentState, Cited, Direction, Incident, Subject};
use lacuna_core::time::Nanos;

use super::{cpu_words, network_words, path_words};

/// What a piece of evidence says.
#[must_use]
pub fn evidence(cited: &Cited) -> String {
    let host = cited.host.as_str();
    let took = length(&cited.from, &cited.to).map_or_else(|| "a while".to_owned(), span);
    match &cited.fact {
        Fact::Silence { lost, unsent_ns } => silence(host, &took, *lost, *unsent_ns),
        Fact::Unheard { sent, heard } => {
            format!("{host} says that it received {heard} of {sent} heartbeats sent to it")
        }
        Fact::Echo { sent, answered } => {
            format!("the kernel of {host} answered {answered} of {sent} echo requests")
        }
        Fact::Account(report) => account(host, report),
        Fact::View { witness, hears, kernel_answers } => view(host, witness, *hears, *kernel_answers),
        Fact::NewBoot { before, now } => {
            format!("{host} came back with boot id {now}, before it was {before}")
        }
        Fact::NewIncarnation => {
            format!("the agent of {host} was started anew without a goodbye, {host} itself was not")
        }
        Fact::Lost { direction } => lost(host, *direction),
        fact => sensed(host, &took, fact),
    }
}

/// What this host's own senses told, as far as it is no conclusion.
fn sensed(host: &str, took: &str, fact: &Fact) -> String {
    match fact {
        Fact::Heartbeat(heartbeat) => self::heartbeat(host, heartbeat),
        Fact::SendRefused { error, count } => {
            format!("the kernel of this host refused to send {count} heartbeats to {host}: {error}")
        }
        Fact::HeartbeatSent { seq, error: None } => format!("heartbeat {seq} left for {host}"),
        Fact::HeartbeatSent { seq, error: Some(error) } => {
            format!("this host's own kernel refused to send heartbeat {seq} to {host}: {error}")
        }
        Fact::EchoSent => format!("an echo request left for {host}"),
        Fact::EchoReply => format!("the kernel of {host} answered an echo request within {took}"),
        Fact::PortUnreachable => {
            format!("the kernel of {host} answers that nobody listens on its heartbeat port")
        }
        Fact::Refused { reason, count } => {
            format!("{count} packets from the address of {host} were refused: {}", reason.escape_debug())
        }
        Fact::Clock { wall } => format!("the wall clock of {host} stood at {} ns", wall.0),
        Fact::AgentLate(late) => agent_late(host, took, late),
        Fact::TimerLate { cpu } => format!("a timer on CPU {cpu} of {host} expired {took} late"),
        Fact::RunqueueDelay { cpu, pid, comm } => format!(
            "task {} (pid {pid}) of {host} was runnable for {took} before it ran on CPU {cpu}",
            comm.escape_debug()
        ),
        Fact::CpuLoad(load) => cpu_load(host, load),
        Fact::Steal { cpu, stolen_ns } => {
            format!("the hypervisor took {} from CPU {cpu} of {host} within {took}", nanos(*stolen_ns))
        }
        Fact::Retransmits { cause, count, failed } => retransmits(host, *cause, *count, *failed),
        Fact::Drops { reason, count } => {
            format!("the kernel of {host} dropped {count} packets: {reason}")
        }
        Fact::SocketOverflow { count } => {
            format!("the agent's own receive buffer on {host} had no room for {count} datagrams")
        }
        Fact::EventsLost { count } => {
            format!("{count} events of the probes on {host} were lost, the ring buffer was full")
        }
        Fact::ArpReply { address, link, count } => {
            format!("{host} answered {count} ARP requests for {address}, from {link}")
        }
        Fact::VipAsked { vip } => format!("{host} asked who has {vip}"),
        Fact::VipClaim(claim) => vip_claim(host, claim),
        // Each of these has words for its own kinds.
        _ => path_words::of_path(host, fact)
            .or_else(|| network_words::of_network(host, fact))
            .or_else(|| cpu_words::of_kernel(host, took, fact))
            .unwrap_or_else(|| kind(fact)),
    }
}

fn vip_claim(host: &str, claim: &VipClaim) -> String {
    let VipClaim { vip, link, owner, how, count } = claim;
    let who = owner.as_ref().map_or_else(|| link.to_string(), |owner| format!("{owner} ({link})"));
    match how {
        ClaimKind::Answered => format!("{who} answered {count} requests of {host} for {vip}"),
        ClaimKind::Announced => format!("{who} announced {count} times that it has {vip}"),
        ClaimKind::Held => format!("{who} had {vip} on an interface, at {count} looks"),
    }
}

/// The public name of a piece of evidence.
#[must_use]
pub fn kind(fact: &Fact) -> String {
    serde_json::to_value(fact)
        .ok()
        .and_then(|value| Some(value.get("kind")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "unknown".to_owned())
}

fn silence(host: &str, took: &str, lost: Option<u64>, unsent_ns: Option<u64>) -> String {
    let heard = format!("nothing was heard of {host} for {took}");
    match (lost, unsent_ns) {
        (None, None) => format!("{heard}; it is not back"),
        (Some(lost), None) => format!("{heard}; {lost} heartbeats that it sent did not arrive"),
        (None, Some(unsent)) => format!("{heard}; it sent none for {}", nanos(unsent)),
        (Some(lost), Some(0)) => {
            format!("{heard}; {lost} heartbeats that it went on sending did not arrive")
        }
        (Some(lost), Some(unsent)) => {
            format!("{heard}; {lost} heartbeats that it sent did not arrive, and it sent none for {}", nanos(unsent))
        }
    }
}

fn heartbeat(host: &str, heartbeat: &Heartbeat) -> String {
    let goodbye = if heartbeat.goodbye { ", its goodbye" } else { "" };
    format!("heartbeat {} of {host} arrived{goodbye}", heartbeat.seq)
}

fn account(host: &str, report: &StallReport) -> String {
    let state = report.state.map_or(String::new(), |state| format!(" ({})", agent_state(state)));
    let took = span(report.to.since(report.from));
    let cpu = report.cpu.map(|cpu| format!(" of CPU {cpu}")).unwrap_or_default();
    let had = if report.open { "has" } else { "had" };
    format!("{host} says that it {had} a stall itself: {}{cpu}{state} for {took}", report.class.name())
}

fn view(host: &str, witness: &str, hears: bool, kernel_answers: Option<bool>) -> String {
    let hears = if hears { "hears" } else { "does not hear" };
    let kernel = match kernel_answers {
        Some(true) => ", and its kernel answers it",
        Some(false) => ", and its kernel does not answer it",
        None => "",
    };
    format!("{witness} {hears} {host}{kernel}")
}

fn lost(host: &str, direction: Direction) -> String {
    match direction {
        Direction::Both => format!("packets to and from {host} were lost"),
        Direction::ToPeer => format!("packets to {host} were lost, those from it arrived"),
        Direction::FromPeer => format!("packets from {host} were lost, those to it arrived"),
    }
}

fn agent_state(state: AgentState) -> &'static str {
    match state {
        AgentState::Stopped => "stopped",
        AgentState::Throttled => "throttled",
        AgentState::NotRunning => "not-running",
    }
}

fn agent_late(host: &str, took: &str, late: &AgentLate) -> String {
    let share = |busy: f64| format!("the CPUs were {:.0} % busy", busy * 100.0);
    let parts = [
        late.waited_ns.map(|ns| format!("{} of it waiting for a CPU", nanos(ns))),
        late.ran_ns.map(|ns| format!("{} of it running", nanos(ns))),
        late.throttled_ns.filter(|ns| *ns > 0).map(|ns| format!("{} throttled by its quota", nanos(ns))),
        late.continued.then(|| "it was stopped and let go on".to_owned()),
        late.steal.map(|(cpu, ns)| format!("the hypervisor took {} from CPU {cpu}", nanos(ns))),
        late.busy.map(share),
        (late.suspended_ns > 0).then(|| format!("suspended for {}", nanos(late.suspended_ns))),
        (!late.timers_watched).then(|| "no probe watched the timers".to_owned()),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    format!("the agent of {host} ran {took} late{parts}")
}

fn cpu_load(host: &str, load: &CpuLoad) -> String {
    let pressure = load
        .pressure
        .map_or(String::new(), |pressure| format!(", some task waited {:.0} % of the time", pressure * 100.0));
    format!(
        "the {} CPUs of {host} were {:.0} % busy with {} runnable tasks, {:.1} % went to the hypervisor{pressure}",
        load.cpus,
        load.busy * 100.0,
        load.runnable,
        load.steal * 100.0,
    )
}

fn retransmits(host: &str, cause: RetransmitCause, count: u64, failed: u64) -> String {
    let cause = match cause {
        RetransmitCause::Syn => "SYN unanswered",
        RetransmitCause::Timeout => "timeout",
        RetransmitCause::Fast => "fast",
        RetransmitCause::Other => "other",
        RetransmitCause::LossProbe => "loss probe",
    };
    let failed = match failed {
        0 => String::new(),
        failed => format!(", {failed} more attempts failed on this host"),
    };
    format!("TCP sent {count} segments again to {host} ({cause}){failed}")
}

/// Whom an incident is about, in few words.
#[must_use]
pub fn subject(subject: &Subject) -> String {
    let cpu = subject.cpu.map(|cpu| format!("CPU {cpu}"));
    if let Some(vip) = &subject.vip {
        return format!("{vip} ({})", subject.hosts.join(", "));
    }
    if !subject.hosts.is_empty() {
        return subject.hosts.join(", ");
    }
    let hosts = match (&subject.host, &subject.peer) {
        (Some(host), Some(peer)) => Some(format!("{host} - {peer}")),
        (host, peer) => host.clone().or_else(|| peer.clone()),
    };
    let parts: Vec<_> = hosts.into_iter().chain(cpu).collect();
    if parts.is_empty() {
        return "-".to_owned();
    }
    parts.join(" ")
}

/// Whether the incident goes on, how sure its verdict is, how often it came back.
#[must_use]
pub fn standing(incident: &Incident) -> String {
    let state = crate::store::state_name(incident.state);
    let sure = format!("{:.0} % sure", incident.verdict.confidence * 100.0);
    let provisional = if incident.provisional { ", provisional: the verdict may still change" } else { "" };
    let times = match incident.occurrences {
        0 | 1 => String::new(),
        times => format!(", {times} times"),
    };
    format!("{state}, {sure}{times}{provisional}")
}

/// What evidence a verdict had, in a line, and what it lacked, each in one.
pub(super) fn looked_at(completeness: &Completeness) -> impl Iterator<Item = String> {
    let had: Vec<&str> = completeness.had.iter().map(|source| source.words()).collect();
    let had = (!had.is_empty()).then(|| had.join(", "));
    let lacked = completeness.lacked.iter().map(|lack| format!("not {}: {}", lack.source.words(), lack.because));
    had.into_iter().chain(lacked)
}

/// The time between two points in RFC 3339; absent where one is none, or the second is the earlier one.
#[must_use]
pub fn length(from: &str, to: &str) -> Option<Duration> {
    let time = |text| humantime::parse_rfc3339_weak(text).ok();
    time(to)?.duration_since(time(from)?).ok()
}

/// A number of nanoseconds for people.
pub(super) fn nanos(ns: u64) -> String {
    span(Nanos(ns).since(Nanos(0)))
}

/// A length of time in seconds for people; `-` where it is absent or none.
#[must_use]
pub fn seconds(seconds: Option<f64>) -> String {
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map_or_else(|| "-".to_owned(), span)
}

/// A length of time for people: three figures or so, up to days.
#[must_use]
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_secs() {
        0 if duration.as_nanos() == 0 => "0 s".to_owned(),
        0 if duration < Duration::from_millis(1) => format!("{:.0} us", seconds * 1e6),
        0 => format!("{:.0} ms", seconds * 1e3),
        1..100 => format!("{seconds:.1} s"),
        100..6000 => format!("{:.1} min", seconds / 60.0),
        6000..172_800 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} d", seconds / 86400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words for each kind of evidence, from the public form of the evidence.
    fn check(fact: serde_json::Value, expected: &str) {
        let mut document = serde_json::json!({
            "host": "lb1", "from": "2026-11-22T21:36:04.000Z", "to": "2026-11-22T21:36:06.000Z",
        });
        for (key, value) in fact.as_object().unwrap() {
            document[key] = value.clone();
        }
        let cited: Cited = serde_json::from_value(document).unwrap();
        assert_eq!(evidence(&cited), expected);
    }

    #[test]
    fn every_kind_is_a_sentence_with_its_figures() {
        let fact = |kind: &str, detail: serde_json::Value| serde_json::json!({"kind": kind, "detail": detail});
        use serde_json::json;
        check(fact("silence", json!({})), "nothing was heard of lb1 for 2.0 s; it is not back");
        check(
            fact("silence", json!({"lost": 20, "unsent_ns": 1_500_000})),
            "nothing was heard of lb1 for 2.0 s; 20 heartbeats that it sent did not arrive, and it sent none for 2 ms",
        );
        check(
            fact("account", json!({"from": 0, "to": 2_000_000_000_u64, "class": "agent-stall", "state": "stopped"})),
            "lb1 says that it had a stall itself: agent-stall (stopped) for 2.0 s",
        );
        check(
            fact("view", json!({"witness": "lb2", "hears": false, "kernel_answers": true})),
            "lb2 does not hear lb1, and its kernel answers it",
        );
        check(fact("lost", json!({"direction": "to-peer"})), "packets to lb1 were lost, those from it arrived");
        check(
            json!({"kind": "new-incarnation"}),
            "the agent of lb1 was started anew without a goodbye, lb1 itself was not",
        );
        check(
            json!({"kind": "port-unreachable"}),
            "the kernel of lb1 answers that nobody listens on its heartbeat port",
        );
        check(
            fact("refused", json!({"reason": "tag", "count": 7})),
            "7 packets from the address of lb1 were refused: tag",
        );
        check(
            fact(
                "agent-late",
                json!({"waited_ns": 1_900_000_000_u64, "continued": true, "steal": [1, 3_000_000], "busy": 0.95, "suspended_ns": 0, "timers_watched": false}),
            ),
            "the agent of lb1 ran 2.0 s late: 1.9 s of it waiting for a CPU, it was stopped and let go on, the hypervisor took 3 ms from CPU 1, the CPUs were 95 % busy, no probe watched the timers",
        );
        check(fact("timer-late", json!({"cpu": 3})), "a timer on CPU 3 of lb1 expired 2.0 s late");
        check(
            fact("runqueue-delay", json!({"cpu": 0, "pid": 7, "comm": "a\u{1b}[2J"})),
            "task a\\u{1b}[2J (pid 7) of lb1 was runnable for 2.0 s before it ran on CPU 0",
        );
        check(
            fact("cpu-load", json!({"cpus": 2, "busy": 1.0, "steal": 0.015, "runnable": 9, "pressure": 0.8})),
            "the 2 CPUs of lb1 were 100 % busy with 9 runnable tasks, 1.5 % went to the hypervisor, some task waited 80 % of the time",
        );
        check(
            fact("steal", json!({"cpu": 1, "stolen_ns": 900_000_000})),
            "the hypervisor took 900 ms from CPU 1 of lb1 within 2.0 s",
        );
        check(
            fact("retransmits", json!({"cause": "timeout", "count": 12, "failed": 1})),
            "TCP sent 12 segments again to lb1 (timeout), 1 more attempts failed on this host",
        );
        check(
            fact("heartbeat-sent", json!({"seq": 4, "error": "EPERM"})),
            "this host's own kernel refused to send heartbeat 4 to lb1: EPERM",
        );
        let claim = |how, owner: Option<&str>| {
            let mut detail = json!({"vip": "10.77.0.100", "link": "02:00:00:00:00:0a", "how": how, "count": 3});
            if let Some(owner) = owner {
                detail["owner"] = owner.into();
            }
            fact("vip-claim", detail)
        };
        check(claim("answered", Some("db1")), "db1 (02:00:00:00:00:0a) answered 3 requests of lb1 for 10.77.0.100");
        check(claim("announced", None), "02:00:00:00:00:0a announced 3 times that it has 10.77.0.100");
        check(claim("held", Some("lb1")), "lb1 (02:00:00:00:00:0a) had 10.77.0.100 on an interface, at 3 looks");
        check(
            fact("arp-reply", json!({"address": "10.77.0.12", "link": "02:00:00:00:00:0c", "count": 5})),
            "lb1 answered 5 ARP requests for 10.77.0.12, from 02:00:00:00:00:0c",
        );
    }

    #[test]
    fn lengths_have_three_figures_or_so() {
        let cases = [
            (0, "0 s"),
            (5_000, "5 us"),
            (310_000_000, "310 ms"),
            (15_840_000_000, "15.8 s"),
            (120_000_000_000, "2.0 min"),
            (7_200_000_000_000, "2.0 h"),
            (200_000_000_000_000, "2.3 d"),
        ];
        for (ns, expected) in cases {
            assert_eq!(nanos(ns), expected);
        }
    }
}
