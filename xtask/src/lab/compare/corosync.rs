//! corosync (3.1): a cluster of all hosts, and what the log says of the membership.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::said::{Conclusion, Hosts};
use crate::lab::network::Host;

/// It holds a lock in `/run`, and its state in two more places; each instance has its own, in mounts that go with it.
/// Its sockets are those of the network namespace anyway.
const ISOLATED: &str = "mount -t tmpfs tmpfs /run && mkdir -p /var/lib/corosync && \
                        mount -t tmpfs tmpfs /var/lib/corosync && mount -t tmpfs tmpfs /dev/shm && \
                        exec corosync -f -c \"$0\"";

/// Writes the configuration, and how to start it.
pub(super) fn command(host: &Host, hosts: &Hosts, folder: &Path) -> Result<Command> {
    let path = |ending: &str| folder.join(format!("corosync-{}.{ending}", host.name));
    std::fs::write(path("conf"), text(hosts, &path("log"))).context("corosync's configuration")?;
    let mut command = host.namespace()?.service("unshare");
    command.args(["--mount", "--", "sh", "-c", ISOLATED]).arg(path("conf"));
    Ok(command)
}

/// The token is lost after 300 ms, like a session of BFD beside it. knet looks at its links every 200 ms only; with the
/// timeouts that it derives from such a token, they go down by themselves every few seconds.
fn text(hosts: &Hosts, log: &Path) -> String {
    let node = |((name, addr), number): (&(String, std::net::Ipv4Addr), u32)| {
        format!(" node {{\n  name: {name}\n  nodeid: {number}\n  ring0_addr: {addr}\n }}\n")
    };
    let nodes: String = hosts.0.iter().zip(1..).map(node).collect();
    let log = log.display();
    format!(
        "totem {{\n version: 2\n cluster_name: lab\n transport: knet\n token: 300\n token_coefficient: 0\n \
         interface {{\n  linknumber: 0\n  knet_ping_interval: 200\n  knet_ping_timeout: 1000\n  knet_pong_count: 1\n }}\n}}\n\
         logging {{\n to_stderr: no\n to_syslog: no\n to_logfile: yes\n logfile: {log}\n timestamp: hires\n}}\n\
         quorum {{\n provider: corosync_votequorum\n}}\n\
         nodelist {{\n{nodes}}}\n"
    )
}

/// Whether the last word about the members is that all are there.
pub(super) fn is_settled(hosts: &Hosts, log: &str) -> bool {
    let members = log.lines().rfind(|line| line.contains("[QUORUM] Members["));
    members.is_some_and(|line| line.contains(&format!("Members[{}]:", hosts.0.len())))
}

/// The conclusions in these lines. Who leaves on purpose says so; the others have failed.
pub(super) fn conclusions(log: &str, hosts: &Hosts) -> Vec<Conclusion> {
    let conclusion = |line: &str| {
        if let Some((_, numbers)) = line.split_once("Failed to receive the leave message. failed:") {
            let names = numbers.split_whitespace().filter_map(|number| hosts.by_number(number));
            return Some(Conclusion::Gone(names.map(str::to_owned).collect()));
        }
        if line.contains("This node is within the non-primary component") {
            return Some(Conclusion::NoQuorum);
        }
        let (_, late) = line.split_once("main process was not scheduled ")?;
        let millis: f64 = late.split_once(" for ")?.1.split(' ').next()?.parse().ok()?;
        Some(Conclusion::SelfLate(millis / 1000.0))
    };
    log.lines().filter_map(conclusion).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
Nov 26 02:20:06.022 [8903] vm corosync warning [MAIN  ] Corosync main process was not scheduled (@1795659606022) for 5065.6992 ms (threshold is 240.0000 ms). Consider token timeout increase.
Nov 26 02:20:06.326 [8903] vm corosync notice  [TOTEM ] A new membership (1.55) was formed. Members joined: 2 3 left: 2 3
Nov 26 02:20:06.326 [8903] vm corosync notice  [TOTEM ] Failed to receive the leave message. failed: 2 3
Nov 26 02:20:06.327 [8903] vm corosync notice  [QUORUM] This node is within the non-primary component and will NOT provide any services.
Nov 26 02:20:06.330 [8903] vm corosync notice  [QUORUM] Members[1]: 1
";

    fn hosts() -> Hosts {
        Hosts([("a", 11), ("b", 12), ("c", 13)].map(|(name, last)| (name.into(), [10, 77, 0, last].into())).into())
    }

    #[test]
    fn the_log_tells_of_the_others_and_of_itself() {
        let gone = Conclusion::Gone(["b", "c"].map(str::to_owned).into());
        let expected = [Conclusion::SelfLate(5.065_699_2), gone, Conclusion::NoQuorum];
        assert_eq!(conclusions(LOG, &hosts()), expected);
    }

    #[test]
    fn it_is_settled_once_all_are_members() {
        assert!(!is_settled(&hosts(), LOG));
        assert!(is_settled(&hosts(), &format!("{LOG}notice  [QUORUM] Members[3]: 1 2 3\n")));
        assert!(!is_settled(&hosts(), ""));
    }
}
