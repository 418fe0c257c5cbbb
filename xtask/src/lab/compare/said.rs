//! What a product concluded of whom.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::Serialize;

use crate::lab::network::address;
use crate::lab::scenario::Scenario;

/// A host says something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Said {
    /// Whose log has it.
    pub(super) by: String,
    /// What.
    #[serde(flatten)]
    pub(super) what: Conclusion,
}

/// The conclusions that these products come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "conclusion", content = "about")]
pub(super) enum Conclusion {
    /// Those hosts are gone, or cannot be reached any more.
    Gone(BTreeSet<String>),
    /// The product itself did not run for so many seconds.
    SelfLate(f64),
    /// It is alone, or with too few others to go on.
    NoQuorum,
}

impl Conclusion {
    /// One host is gone.
    pub(super) fn gone(host: &str) -> Self {
        Self::Gone([host.to_owned()].into())
    }
}

/// Names and addresses of a scenario's hosts, in order.
#[derive(Clone, Debug)]
pub(super) struct Hosts(pub(super) Vec<(String, Ipv4Addr)>);

impl Hosts {
    /// Those of a scenario.
    pub(super) fn of(scenario: &Scenario) -> Self {
        Self(scenario.hosts.iter().map(|host| host.name.clone()).zip((0..).map(address)).collect())
    }

    /// Whose address that is.
    pub(super) fn by_address(&self, text: &str) -> Option<&str> {
        let found = self.0.iter().find(|(_, addr)| addr.to_string() == text);
        found.map(|(name, _)| name.as_str())
    }

    /// The host of that number, from 1.
    pub(super) fn by_number(&self, text: &str) -> Option<&str> {
        let index = text.parse::<usize>().ok()?.checked_sub(1)?;
        self.0.get(index).map(|(name, _)| name.as_str())
    }
}
