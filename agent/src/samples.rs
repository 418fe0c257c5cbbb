//! Values that the tests of several modules share; the same files feed the tests of the commands.

use std::sync::Arc;

use lacuna_core::incident::Incident;

use crate::shared::{Identity, Shared};

/// A closed incident with evidence, rulings and a witness.
pub(crate) fn path_drop() -> Incident {
    serde_json::from_str(include_str!("../tests/data/path-drop.json")).unwrap()
}

/// An open, provisional incident that came back twice.
pub(crate) fn host_down() -> Incident {
    serde_json::from_str(include_str!("../tests/data/host-down.json")).unwrap()
}

/// Closed incident number `i`: one a minute.
pub(crate) fn numbered(i: u32) -> Incident {
    let at = |seconds: u32| {
        let since = std::time::Duration::from_secs(1_795_000_000 + u64::from(i * 60 + seconds));
        humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string()
    };
    Incident { id: format!("id-{i:06}"), started_at: at(0), ended_at: Some(at(15)), ..path_drop() }
}

/// A running agent without probes.
pub(crate) fn shared() -> Arc<Shared> {
    let identity = Identity {
        host: "db1".into(),
        version: "0.1.0".into(),
        kernel: "6.18.0".into(),
        boot_id: "0123456789abcdef0123456789abcdef".into(),
        incarnation: 7,
        started_at: "2026-11-22T20:00:00.000Z".into(),
        ..Identity::default()
    };
    Arc::new(Shared::new(identity, Vec::new(), None))
}
