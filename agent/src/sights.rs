//! Who hears whom, as this host knows it: what it hears itself, and what its peers told of the others in their last heartbeats.

use std::time::Duration;

use lacuna_core::engine::Engine;
use lacuna_core::evidence::{MAX_VIEWS, name_hash};
use lacuna_core::peer::Peer;
use lacuna_core::time::Nanos;

/// Hosts in the matrix: this one, and as many peers as a heartbeat tells of.
pub const MAX_HOSTS: usize = MAX_VIEWS + 1;

/// A row for each host that says what it hears, a column for each that is heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// This host, then its peers in the order of the configuration, at most [`MAX_HOSTS`].
    pub hosts: Vec<String>,
    /// What each of them hears of each, both in the order of `hosts`.
    pub rows: Vec<Vec<Sight>>,
    /// Peers that there was no room for.
    pub left_out: usize,
}

/// What one host hears of another. Lengths are from the last heartbeat that it received to when it said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// A host and itself.
    Itself,
    /// Heard no longer ago than the threshold of a gap.
    Hears(Duration),
    /// Silent for longer than that.
    Silent(Duration),
    /// Never heard.
    Never,
    /// It said goodbye.
    Left,
    /// The row's host did not say, or said it too long ago.
    Unknown,
}

impl Sight {
    fn of(age: Option<Duration>, gap: Duration) -> Self {
        match age {
            None => Self::Never,
            Some(age) if age < gap => Self::Hears(age),
            Some(age) => Self::Silent(age),
        }
    }

    /// Whether something is wrong there.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        matches!(self, Self::Silent(_) | Self::Never)
    }
}

impl Matrix {
    /// What is known `now`; `gap` is the threshold of an incident.
    #[must_use]
    pub fn of<'a>(
        engine: &Engine,
        host: &'a str,
        peers: impl ExactSizeIterator<Item = &'a str>,
        gap: Duration,
        now: Nanos,
    ) -> Self {
        let left_out = peers.len().saturating_sub(MAX_HOSTS - 1);
        let hosts: Vec<String> = std::iter::once(host).chain(peers.take(MAX_HOSTS - 1)).map(str::to_owned).collect();
        let hashes: Vec<u64> = hosts.iter().map(|name| name_hash(name)).collect();
        let mut rows = vec![own_row(engine, &hosts, gap, now)];
        for (place, name) in hosts.iter().enumerate().skip(1) {
            let row = engine.peer(name).map(|peer| told_row(peer, &hashes, place, gap, now));
            rows.push(row.unwrap_or_else(|| unknown_row(hosts.len(), place)));
        }
        Self { hosts, rows, left_out }
    }
}

/// What this host hears; it has the first place.
fn own_row(engine: &Engine, hosts: &[String], gap: Duration, now: Nanos) -> Vec<Sight> {
    let sight = |name: &String| match engine.peer(name) {
        None => Sight::Unknown,
        Some(peer) if peer.left => Sight::Left,
        Some(peer) => Sight::of(peer.last.as_ref().map(|last| now.since(last.at)), gap),
    };
    std::iter::once(Sight::Itself).chain(hosts.iter().skip(1).map(sight)).collect()
}

/// What a peer told with its last heartbeat; one that is silent itself tells nothing of now.
fn told_row(peer: &Peer, hashes: &[u64], place: usize, gap: Duration, now: Nanos) -> Vec<Sight> {
    let fresh = peer.last.as_ref().is_some_and(|last| now.since(last.at) < gap);
    if !fresh || peer.left {
        return unknown_row(hashes.len(), place);
    }
    let sight = |(column, hash): (usize, &u64)| match column {
        _ if column == place => Sight::Itself,
        0 => Sight::of(peer.heard.map(|heard| heard.age), gap),
        _ => peer.views.of(*hash).map_or(Sight::Unknown, |view| Sight::of(view.heard_age, gap)),
    };
    hashes.iter().enumerate().map(sight).collect()
}

fn unknown_row(length: usize, place: usize) -> Vec<Sight> {
    (0..length).map(|column| if column == place { Sight::Itself } else { Sight::Unknown }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lacuna_core::engine::Me;
    use lacuna_core::evidence::{Evidence, Fact, Heard, Heartbeat, PeerView};
    use lacuna_core::settings::Settings;
    use lacuna_core::time::WallNanos;

    use super::*;

    const GAP: Duration = Duration::from_millis(300);

    fn ms(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    /// An engine of db1 that watches those.
    fn engine(peers: &[&str]) -> Engine {
        let peers = peers.iter().map(|name| (*name).to_owned()).collect();
        let settings = Settings { host: "db1".into(), peers, ..Settings::default() };
        let mut engine = Engine::new(settings, Me::default());
        engine.handle(Evidence::at("db1", ms(1000), Fact::Clock { wall: WallNanos(1_000_000_000) }));
        engine
    }

    fn hear(engine: &mut Engine, from: &str, at: Nanos, heard_me: Duration, views: &[(&str, Option<Duration>)]) {
        let view = |(name, heard_age): &(&str, Option<Duration>)| PeerView {
            peer: name_hash(name),
            heard_age: *heard_age,
            kernel_answers: None,
            heard_for: None,
        };
        let beat = Heartbeat {
            seq: 1,
            sent_at: at,
            heard: Some(Heard { seq: 1, count: 1, age: heard_me, ..Heard::default() }),
            views: views.iter().map(view).collect(),
            ..Heartbeat::default()
        };
        engine.handle(Evidence::at(from, at, Fact::Heartbeat(Arc::new(beat))));
    }

    #[test]
    fn own_view_and_what_peers_tell_are_one_matrix() {
        let mut engine = engine(&["lb1", "lb2", "lb3"]);
        let (soon, late) = (Duration::from_millis(50), Duration::from_secs(4));
        hear(&mut engine, "lb1", ms(2000), soon, &[("lb2", Some(late)), ("lb3", None), ("stranger", Some(soon))]);
        let matrix = Matrix::of(&engine, "db1", ["lb1", "lb2", "lb3"].into_iter(), GAP, ms(2100));
        assert_eq!(matrix.hosts, ["db1", "lb1", "lb2", "lb3"]);
        let hears = Sight::Hears(Duration::from_millis(100));
        assert_eq!(matrix.rows[0], [Sight::Itself, hears, Sight::Never, Sight::Never]);
        assert_eq!(matrix.rows[1], [Sight::Hears(soon), Sight::Itself, Sight::Silent(late), Sight::Never]);
        assert_eq!(matrix.rows[2], [Sight::Unknown, Sight::Unknown, Sight::Itself, Sight::Unknown], "never heard");
    }

    #[test]
    fn who_is_silent_tells_nothing_of_now() {
        let mut engine = engine(&["lb1", "lb2"]);
        let soon = Duration::from_millis(50);
        hear(&mut engine, "lb1", ms(2000), soon, &[("lb2", Some(soon))]);
        let matrix = Matrix::of(&engine, "db1", ["lb1", "lb2"].into_iter(), GAP, ms(2400));
        assert_eq!(matrix.rows[0][1], Sight::Silent(Duration::from_millis(400)));
        assert_eq!(matrix.rows[1], [Sight::Unknown, Sight::Itself, Sight::Unknown]);
    }

    #[test]
    fn the_matrix_is_bounded_and_says_so() {
        let names: Vec<String> = (0..MAX_HOSTS + 4).map(|number| format!("h{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let matrix = Matrix::of(&engine(&names), "db1", names.iter().copied(), GAP, ms(2000));
        assert_eq!((matrix.hosts.len(), matrix.rows.len(), matrix.left_out), (MAX_HOSTS, MAX_HOSTS, 5));
        assert!(matrix.rows.iter().all(|row| row.len() == MAX_HOSTS));
    }
}
