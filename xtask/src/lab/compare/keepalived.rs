//! What keepalived's log says (2.2, `--log-console --log-detail`).

use super::said::Conclusion;
use crate::lab::scenario::Scenario;

/// The conclusions of `by` in these lines. A backup misses the master: the host with the highest priority but itself.
pub(super) fn conclusions(by: &str, log: &str, scenario: &Scenario) -> Vec<Conclusion> {
    let others = scenario.hosts.iter().filter(|host| host.name != by);
    let master = others.max_by_key(|host| host.priority).map(|host| host.name.as_str()).unwrap_or_default();
    let conclusion = |line: &str| {
        if line.ends_with(") Receive advertisement timeout") {
            return Some(Conclusion::gone(master));
        }
        let (_, late) = line.split_once("A thread timer expired ")?;
        Some(Conclusion::SelfLate(late.strip_suffix(" seconds ago")?.parse().ok()?))
    };
    log.lines().filter_map(conclusion).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "about = \"x\"\nlasts = \"9s\"\nvip = \"10.77.0.100\"\n\
                         hosts = [{ name = \"a\", priority = 120 }, { name = \"b\", priority = 150 }]\n";

    #[test]
    fn a_timeout_is_about_the_master_and_a_late_timer_about_itself() {
        let scenario = Scenario::parse("test", HOSTS).unwrap();
        let log = "Thu Nov 26 02:16:40 2026: (vip) Receive advertisement timeout\n\
                   Thu Nov 26 02:16:40 2026: (vip) Entering MASTER STATE\n\
                   Thu Nov 26 02:16:45 2026: A thread timer expired 4.813691 seconds ago\n";
        let late = Conclusion::SelfLate(4.813_691);
        assert_eq!(conclusions("a", log, &scenario), [Conclusion::gone("b"), late.clone()]);
        assert_eq!(conclusions("b", log, &scenario), [Conclusion::gone("a"), late]);
    }
}
