//! Who is watched, and what the sources of peers give at this moment.

use super::report::Check;
use crate::config::Config;
use crate::discovery::{Survey, Surveyed, survey};

/// A line for each source, and one for all peers together.
pub(super) fn peers(config: &Config) -> Vec<Check> {
    match survey(config) {
        Ok(survey) => {
            let sources = survey.sources.iter().map(source);
            sources.chain(refused(&survey)).chain([together(config, &survey)]).collect()
        }
        Err(error) => vec![Check::degraded("discovery", error.to_string(), "no source of peers can be looked at")],
    }
}

fn source(one: &Surveyed) -> Check {
    let found = format!("{} gives {} peers: {}", one.source, one.names.len(), listed(&one.names));
    match &one.trouble {
        None => Check::ok("discovery", found),
        Some(trouble) => Check::degraded("discovery", found, trouble),
    }
}

fn refused(survey: &Survey) -> Option<Check> {
    let next = "give each peer a name and an address of its own, both as in [[peers]]";
    (!survey.refused.is_empty()).then(|| Check::degraded("discovery", survey.refused.said(), next))
}

fn together(config: &Config, survey: &Survey) -> Check {
    let names: Vec<String> = survey.peers.iter().map(|peer| peer.name.clone()).collect();
    if !names.is_empty() {
        return Check::ok("peers", format!("{}: {}", names.len(), listed(&names)));
    }
    if config.exchanges_heartbeats() {
        return Check::degraded(
            "peers",
            "none found",
            "until there are some, only this kernel and the gateway are watched",
        );
    }
    let next = "without [[peers]] or [discovery] in the configuration only this kernel and the gateway are watched";
    Check::degraded("peers", "none configured", next)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[test]
    fn every_source_is_told_with_what_it_gives() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join("good.json"), dir.path().join("bad.json"));
        std::fs::write(&good, r#"[{"targets": ["10.77.0.12", "10.77.0.13"], "labels": {"name": "lb1"}}]"#).unwrap();
        let text = format!(
            "host = \"db1\"\n[heartbeat]\ninsecure = true\n[[discovery.file]]\npath = \"{}\"\n\
             [[discovery.file]]\npath = \"{}\"\n",
            good.display(),
            bad.display()
        );
        let checks = peers(&Config::parse(&text, "c").unwrap());
        let states: Vec<State> = checks.iter().map(|check| check.state).collect();
        assert_eq!(states, [State::Ok, State::Degraded, State::Degraded, State::Ok], "{checks:?}");
        assert_eq!(checks[0].found, format!("file {} gives 2 peers: lb1, lb1", good.display()));
        assert!(checks[1].next.as_ref().unwrap().contains("No such file"), "{checks:?}");
        assert_eq!(checks[2].found, "1 left out: lb1 at 10.77.0.13:9479 (duplicate)");
        assert_eq!(checks[3].found, "1: lb1");
    }

    #[test]
    fn without_any_source_nothing_is_looked_at() {
        let checks = peers(&Config::without_file("db1"));
        assert_eq!(checks.len(), 1);
        assert_eq!((checks[0].topic, checks[0].found.as_str()), ("peers", "none configured"));
    }
}
