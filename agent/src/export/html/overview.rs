//! `/`: what goes on, what went on lately, and how the agent itself is.

use lacuna_core::incident::{Class, Incident};
use lacuna_core::recurrence::MarkNote;
use maud::{Markup, html};

use super::frame::{self, Follow};
use super::parts::{changes, incidents, part};
use super::{Place, matrix};
use crate::export::json::{Incidents, Peer, Status};
use crate::export::{text, words};
use crate::shared::CpuStatus;
use crate::sights::Matrix;
use crate::store::Cursor;

/// Open incidents that are shown, the newest; there are more than a few only where everything is wrong at once.
const OPEN: usize = 30;
/// Peers, and CPUs, that are shown.
const PEERS: usize = 64;
const CPUS: usize = 64;
/// Probes that are shown, each with its hook; there are some forty.
const PROBES: usize = 100;

/// What the page shows.
#[derive(Clone, Copy, Debug)]
pub struct Overview<'a> {
    /// The agent as it is.
    pub status: &'a Status,
    /// Who hears whom.
    pub matrix: &'a Matrix,
    /// Closed incidents, oldest first: a page of them.
    pub recent: &'a Incidents,
    /// Changes that were noted, oldest first.
    pub marks: &'a [MarkNote],
    /// Only incidents of this class were asked for.
    pub class: Option<Class>,
    /// They are not the newest ones.
    pub earlier: bool,
}

/// The whole page.
#[must_use]
pub fn overview(shown: &Overview<'_>) -> String {
    let Overview { status, .. } = shown;
    let newest_marks: Vec<_> = shown.marks.iter().rev().cloned().collect();
    let body = html! {
        (top(status))
        main {
            (part("open", "Open incidents", &open(&status.open_incidents)))
            (part("recent", "Recent incidents", &recent(shown)))
            (part("matrix", "Who hears whom", &matrix::table(shown.matrix)))
            (part("peers", "Peers", &peers(&status.peers)))
            (part("cpus", "CPUs", &cpus(&status.cpus)))
            (part("changes", "Changes", &changes(&newest_marks)))
            (part("probes", "Probes", &probes(status)))
        }
        (footer(status))
    };
    frame::page(&format!("Lacuna on {}", status.agent.host), Place::Served, Follow::All, &body)
}

fn top(status: &Status) -> Markup {
    let health = &status.health;
    html! {
        header {
            div id="top" data-part="" {
                h1 { "Lacuna on " (status.agent.host) " " span class={ "badge " (health.status.name()) } { (health.status.name()) } }
                @if let Some(reason) = &health.reason { p class="bad" { (reason) } }
                @if !health.degraded.is_empty() {
                    ul { @for (part, because) in &health.degraded { li { b { (part) } ": " (because) } } }
                }
            }
            p class="dim" role="status" id="live" { "" }
        }
    }
}

fn footer(status: &Status) -> Markup {
    let agent = &status.agent;
    html! {
        footer {
            "lacuna " (agent.version) ", kernel " (agent.kernel) ", since " (agent.started_at) ". "
            a href="/metrics" { "metrics" } " " a href="/healthz" { "health" } " " a href="/api/v1/status" { "status" } " "
            a href="/api/v1/incidents" { "incidents" }
        }
    }
}

fn open(open: &[Incident]) -> Markup {
    let beyond = open.len().saturating_sub(OPEN);
    html! {
        (incidents(open.iter().rev().take(OPEN), Place::Served))
        @if beyond > 0 { p { (beyond) " more are open" } }
    }
}

fn recent(shown: &Overview<'_>) -> Markup {
    let recent = shown.recent;
    let only = shown.class.map(|class| format!("class={}", class.name()));
    let older = recent.incidents.first().filter(|_| recent.truncated).and_then(Cursor::of);
    let link = |before: Option<Cursor>| {
        let before = before.map(|cursor| format!("before={cursor}"));
        let asked: Vec<String> = before.into_iter().chain(only.clone()).collect();
        if asked.is_empty() { "/".to_owned() } else { format!("/?{}", asked.join("&")) }
    };
    html! {
        @if let Some(error) = &recent.store_error { p class="bad" { (error) } }
        @if recent.unreadable > 0 { p class="warn" { (recent.unreadable) " are of another version and cannot be read" } }
        @if let Some(class) = shown.class { p { "Only " b { (class.name()) } ". " a href="/" { "All" } } }
        (incidents(recent.incidents.iter().rev(), Place::Served))
        nav aria-label="Pages of incidents" {
            @if shown.earlier { a href=(link(None)) { "Newest" } " " }
            @if let Some(cursor) = older { a href=(link(Some(cursor))) rel="next" { "Older" } }
        }
    }
}

fn peers(peers: &[Peer]) -> Markup {
    let beyond = peers.len().saturating_sub(PEERS);
    html! {
        @if peers.is_empty() { p class="dim" { "none configured" } } @else {
            table class="rows" {
                thead { tr { th { "Name" } th { "Address" } th { "Role" } th { "State" } th { "Heard" } th { "Echo" } } }
                tbody { @for peer in peers.iter().take(PEERS) { (peer_row(peer)) } }
            }
            @if beyond > 0 { p class="dim" { (beyond) " more are not shown" } }
        }
    }
}

fn peer_row(peer: &Peer) -> Markup {
    let class = match (peer.left, peer.up) {
        (true, _) => "dim",
        (_, Some(true)) => "good",
        (_, Some(false)) => "bad",
        (_, None) => "warn",
    };
    html! {
        tr {
            td { b { (peer.name) } }
            td { (peer.addr) }
            td { (peer.role) }
            td class=(class) { (text::peer_state(peer).0) }
            td { (ago("heard", peer.last_heard_seconds)) }
            td { (ago("echo", peer.last_echo_seconds)) }
        }
    }
}

/// With its name, since there are no headings on a phone; absent where it never was.
fn ago(what: &str, seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |_| format!("{what} {} ago", words::seconds(seconds)))
}

/// A figure that could not be read is absent, not 0.
fn cpus(cpus: &[CpuStatus]) -> Markup {
    let figure = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let beyond = cpus.len().saturating_sub(CPUS);
    html! {
        @if cpus.is_empty() { p class="dim" { "not read yet" } } @else {
            table class="rows" {
                thead { tr { th { "CPU" } th { "Busy" } th { "Steal since boot" } th { "Stalls seen" } } }
                tbody { @for cpu in cpus.iter().take(CPUS) {
                    tr {
                        td { b { "CPU " (cpu.cpu) } }
                        td { (figure(cpu.busy.map(|busy| format!("{:.0} % busy", busy * 100.0)))) }
                        td { (figure(cpu.steal_seconds_total.map(|seconds| format!("{seconds:.1} s stolen")))) }
                        td { @if cpu.watched { "watched" } @else { span class="warn" { "not watched: isolated or offline" } } }
                    }
                } }
            }
            @if beyond > 0 { p class="dim" { (beyond) " more are not shown" } }
        }
    }
}

/// Those that do not work first.
fn probes(status: &Status) -> Markup {
    let mut probes: Vec<_> = status.probes.iter().collect();
    probes.sort_by_key(|probe| probe.attached);
    let beyond = probes.len().saturating_sub(PROBES);
    html! {
        @if probes.is_empty() { p class="dim" { "none" } } @else {
            table class="rows" {
                thead { tr { th { "Probe" } th { "Hook" } th { "State" } } }
                tbody { @for probe in probes.into_iter().take(PROBES) {
                    tr {
                        td { b { (probe.probe) } }
                        td { (probe.hook) }
                        td class="text" {
                            @if probe.attached { "attached" } @else { span class="bad" { "not attached" } }
                            @if let Some(because) = &probe.because { ": " (because) }
                        }
                    }
                } }
            }
            @if beyond > 0 { p class="dim" { (beyond) " more are not shown" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn page(status: &Status, recent: &Incidents) -> String {
        let matrix = Matrix::default();
        overview(&Overview { status, matrix: &matrix, recent, marks: &[], class: None, earlier: false })
    }

    fn busy() -> Status {
        Status::of(&samples::busy(), samples::now())
    }

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let mut evil = samples::path_drop();
        evil.verdict.summary = "<script>alert(1)</script>".into();
        evil.id = "\"><img src=x>".into();
        let mut status = busy();
        status.agent.host = "<i>db1".into();
        status.peers[0].name = "<img src=y>".into();
        status.probes[0].because = Some("<img src=z>".into());
        status.open_incidents.push(evil.clone());
        let marks = [MarkNote { id: 1, at: "<img".into(), text: "<img src=m>".into() }];
        let recent = Incidents { incidents: vec![evil], ..Incidents::default() };
        let matrix = Matrix { hosts: vec!["<img".into(), "b".into()], ..Matrix::default() };
        let shown =
            Overview { status: &status, matrix: &matrix, recent: &recent, marks: &marks, class: None, earlier: true };
        let page = overview(&shown);
        assert_eq!(page.matches("<script").count(), 1, "our own");
        assert!(!page.contains("<img") && !page.contains("<i>db1"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("&lt;img src=m&gt;"));
    }

    #[test]
    fn the_page_shows_what_is_known_and_needs_no_other_host() {
        let page = page(&busy(), &Incidents::default());
        assert!(!page.contains("://"), "{page}");
        for word in
            ["host-down?", "lb1", "never heard", "no BTF in this kernel", "read-only", "25 % busy", "12.5 s stolen"]
        {
            assert!(page.contains(word), "{word} not in {page}");
        }
        for part in ["top", "open", "recent", "matrix", "peers", "cpus", "changes", "probes"] {
            assert!(page.contains(&format!("id=\"{part}\" data-part=\"\"")), "{part}");
        }
    }

    #[test]
    fn older_and_newest_are_links_that_keep_the_class() {
        let incidents: Vec<_> = (0..3).map(samples::numbered).collect();
        let recent = Incidents { incidents, truncated: true, ..Incidents::default() };
        let (status, matrix) = (busy(), Matrix::default());
        let class = Some(Class::PathDrop);
        let shown = Overview { status: &status, matrix: &matrix, recent: &recent, marks: &[], class, earlier: true };
        let page = overview(&shown);
        assert!(page.contains("href=\"/?before=1795000000000-id-000000&amp;class=path-drop\""), "{page}");
        assert!(page.contains("href=\"/?class=path-drop\""), "{page}");
        let (newest, oldest) = (page.find("id-000002").unwrap(), page.find("/incidents/id-000000").unwrap());
        assert!(newest < oldest, "newest first");
    }

    /// Fifty hosts that watch each other, sixty-four CPUs, every hook with words, full pages of incidents with long summaries.
    #[test]
    fn a_large_host_stays_light() {
        let mut status = busy();
        let (peer, probe) = (status.peers[0].clone(), status.probes[1].clone());
        status.peers = (0..49).map(|number| Peer { name: format!("database-{number:02}"), ..peer.clone() }).collect();
        status.cpus = (0..64).map(|cpu| CpuStatus { cpu, busy: Some(0.5), ..CpuStatus::default() }).collect();
        let because = "this kernel lets no probe hang on the function; /proc/net/snmp counts it for all peers together";
        status.probes = vec![crate::export::json::Probe { because: Some(because.into()), ..probe }; 40];
        let long = |number| {
            let mut one = samples::numbered(number);
            one.verdict.summary = "the kernel of a dropped packets both ways between a and b, ".repeat(5);
            one
        };
        status.open_incidents = (0..20).map(long).collect();
        let recent = Incidents { incidents: (20..70).map(long).collect(), truncated: true, ..Incidents::default() };
        let rows = vec![vec![crate::sights::Sight::Hears(std::time::Duration::from_millis(40)); 50]; 50];
        let hosts = (0..50).map(|number| format!("database-{number:02}")).collect();
        let matrix = Matrix { hosts, rows, left_out: 0 };
        let shown =
            Overview { status: &status, matrix: &matrix, recent: &recent, marks: &[], class: None, earlier: false };
        let bytes = overview(&shown).len();
        assert!(bytes < 100_000, "{bytes}");
    }

    #[test]
    fn a_hundred_open_incidents_do_not_fill_the_page() {
        let mut status = busy();
        status.open_incidents = (0..120).map(samples::numbered).collect();
        let page = page(&status, &Incidents::default());
        assert!(page.contains("90 more are open") && page.contains("id-000119") && !page.contains("id-000089"));
    }
}
