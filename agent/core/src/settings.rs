//! What the engine may be told to do differently. The agent fills this from its configuration file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Thresholds and names the engine judges by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// This host's name, as its peers have it in their configuration.
    pub host: String,
    /// Tells the incidents of this fleet from those of others in one place; 0: they are told by names and times alone.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub fleet: u64,
    /// Free labels of this host; `hypervisor` groups the guests of one machine.
    pub labels: BTreeMap<String, String>,
    /// How often a heartbeat leaves for every peer. Default 100 ms.
    pub interval: Duration,
    /// A peer that is silent for longer is an incident. Default 300 ms, three intervals; never below two.
    pub gap: Duration,
    /// A CPU (or this agent) that stands still for longer is an incident. Default 500 ms.
    pub cpu_stall: Duration,
    /// CPUs that have more work than they can do for longer than this are an incident. Default 30 s.
    pub saturation: Duration,
    /// The names of the peers that heartbeats are exchanged with.
    pub peers: Vec<String>,
    /// Names that only answer echo requests, such as the default gateway.
    pub anchors: Vec<String>,
    /// Virtual addresses that must have one owner.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub vips: Vec<IpAddr>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            fleet: 0,
            labels: BTreeMap::new(),
            interval: Duration::from_millis(100),
            gap: Duration::from_millis(300),
            cpu_stall: Duration::from_millis(500),
            saturation: Duration::from_secs(30),
            peers: Vec::new(),
            anchors: Vec::new(),
            vips: Vec::new(),
        }
    }
}
