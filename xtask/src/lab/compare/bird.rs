//! bird2's BFD (RFC 5880): a session with every other host, and what the log says of them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::said::{Conclusion, Hosts};
use crate::lab::network::Host;

/// Writes the configuration, and how to start it: 100 ms, and three of them make a session down.
pub(super) fn command(host: &Host, hosts: &Hosts, folder: &Path) -> Result<Command> {
    let path = |ending: &str| folder.join(format!("bird-{}.{ending}", host.name));
    std::fs::write(path("conf"), text(host, hosts)).context("bird's configuration")?;
    let mut command = host.namespace()?.service("bird");
    command.arg("-f").arg("-c").arg(path("conf")).arg("-s").arg(path("sock")).arg("-P").arg(path("pid"));
    Ok(command)
}

fn text(host: &Host, hosts: &Hosts) -> String {
    let own = host.addr;
    let peers = hosts.0.iter().filter(|(_, addr)| *addr != own);
    let neighbours: String = peers.map(|(_, addr)| format!("  neighbor {addr} dev \"eth0\" local {own};\n")).collect();
    format!(
        "router id {own};\n\
         log stderr all;\n\
         protocol device {{ }}\n\
         protocol bfd {{\n\
         \x20 debug {{ states, events }};\n\
         \x20 interface \"eth0\" {{ interval 100 ms; multiplier 3; }};\n\
         {neighbours}\
         }}\n"
    )
}

/// Whether the last word of `by` about its session with every other host is that it is up.
pub(super) fn is_settled(by: &str, hosts: &Hosts, log: &str) -> bool {
    let up = |addr: &str| {
        let session = format!("Session to {addr} changed state from ");
        log.lines().rfind(|line| line.contains(&session)).is_some_and(|line| line.ends_with(" to Up"))
    };
    hosts.0.iter().filter(|(name, _)| name != by).all(|(_, addr)| up(&addr.to_string()))
}

/// The conclusions in these lines. That a session is down because the other end says so is none of its own.
pub(super) fn conclusions(log: &str, hosts: &Hosts) -> Vec<Conclusion> {
    let conclusion = |line: &str| {
        let (_, addr) = line.strip_suffix(" expired")?.rsplit_once("Session to ")?;
        hosts.by_address(addr).map(Conclusion::gone)
    };
    log.lines().filter_map(conclusion).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-11-26 02:16:40.359 <TRACE> bfd1: Session to 10.77.0.12 expired\n\
                       2026-11-26 02:16:40.359 <TRACE> bfd1: Session to 10.77.0.12 changed state from Up to Down\n\
                       2026-11-26 02:16:45.116 <TRACE> bfd1: Session to 10.77.0.13 changed state from Up to Down\n";

    fn hosts() -> Hosts {
        Hosts([("a", 11), ("b", 12), ("c", 13)].map(|(name, last)| (name.into(), [10, 77, 0, last].into())).into())
    }

    #[test]
    fn what_expired_is_a_conclusion_and_what_the_other_end_says_is_none() {
        assert_eq!(conclusions(LOG, &hosts()), [Conclusion::gone("b")]);
    }

    #[test]
    fn it_is_settled_once_every_session_is_up() {
        let up = |last: u8| format!("bfd1: Session to 10.77.0.{last} changed state from Init to Up\n");
        assert!(!is_settled("a", &hosts(), &up(12)));
        assert!(is_settled("a", &hosts(), &(up(12) + &up(13))));
        assert!(!is_settled("a", &hosts(), &(up(12) + &up(13) + LOG)));
    }
}
