//! Whether heartbeats are authenticated, and whether the keys for that can be read.

use super::report::Check;
use crate::config::Config;
use crate::heartbeat::keys::Keys;

/// Nothing where no heartbeats are exchanged.
pub(super) fn keys(config: &Config) -> Option<Check> {
    if !config.exchanges_heartbeats() {
        return None;
    }
    Some(match Keys::of(&config.heartbeat) {
        Ok(Some(keys)) => Check::ok("keys", keys.said()),
        Ok(None) => Check::degraded(
            "keys",
            "heartbeats are not authenticated (insecure = true)",
            "whoever can send from a peer's address is believed; set heartbeat.key_file",
        ),
        Err(error) => Check::failed("keys", error.to_string(), "the agent does not start without them"),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::super::report::State;
    use super::*;

    fn check(key_file: &std::path::Path) -> Check {
        let peers = "[[peers]]\nname = \"b\"\naddr = \"10.77.0.12:9479\"\n";
        let text = format!("host = \"a\"\n[heartbeat]\nkey_file = {key_file:?}\n{peers}");
        keys(&Config::parse(&text, "c").unwrap()).unwrap()
    }

    #[test]
    fn keys_are_counted_and_what_keeps_the_agent_from_starting_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.key");
        let missing = check(&path);
        assert_eq!(missing.state, State::Failed);
        assert!(missing.found.contains("No such file"), "{missing:?}");

        let line = |letter: &str| format!("{}=\n", letter.repeat(43));
        fs::write(&path, line("A") + &line("E")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(check(&path), Check::ok("keys", "2 keys, the first one signs"));

        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(check(&path).found.contains("chmod 600"));
    }

    #[test]
    fn without_peers_no_key_is_needed_and_without_keys_it_is_said() {
        assert_eq!(keys(&Config::without_file("a")), None);
        let text = "host = \"a\"\n[heartbeat]\ninsecure = true\n[[peers]]\nname = \"b\"\naddr = \"10.77.0.12:9479\"\n";
        let check = keys(&Config::parse(text, "c").unwrap()).unwrap();
        assert_eq!(check.state, State::Degraded);
    }
}
