//! What Alertmanager sends, as the one who is paged gets it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde::Deserialize;

use crate::lab::helper::Helper;
use crate::lab::receiver::{self, Request};
use crate::stop::Stop;

/// Where alertmanager.yml sends to.
const LISTEN: &str = "127.0.0.1:9095";
/// Most bytes of a notification.
const BODY: u64 = 1 << 20;
/// Notifications that are kept.
const KEPT: usize = 1000;

/// A notification.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Notification {
    /// The receiver that it came to.
    #[serde(skip)]
    pub(super) path: String,
    /// `firing` or `resolved`.
    pub(super) status: String,
    /// The alerts of the group.
    pub(super) alerts: Vec<Alert>,
}

/// One of its alerts.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Alert {
    /// `firing` or `resolved`.
    pub(super) status: String,
    /// With `alertname`.
    pub(super) labels: BTreeMap<String, String>,
    /// What people read.
    pub(super) annotations: BTreeMap<String, String>,
}

/// Takes notifications until it is dropped.
pub(super) struct Webhook {
    got: Arc<Mutex<Vec<Notification>>>,
    _thread: Helper,
}

impl Webhook {
    /// To be made in the namespace of Alertmanager.
    pub(super) fn start(stop: &Stop) -> Result<Self> {
        let got = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&got);
        let thread = receiver::listen(LISTEN, BODY, stop, move |request| match request.and_then(read) {
            Ok(notification) => {
                keep(&to, notification);
                true
            }
            Err(error) => {
                eprintln!("warning: a notification that cannot be read: {error:#}");
                false
            }
        })?;
        Ok(Self { got, _thread: thread })
    }

    /// What came so far to that receiver.
    pub(super) fn got(&self, path: &str) -> Vec<Notification> {
        let all = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|notification| notification.path == path).cloned().collect()
    }
}

fn keep(to: &Mutex<Vec<Notification>>, notification: Notification) {
    let mut all = to.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() < KEPT {
        all.push(notification);
    }
}

fn read(request: Request) -> Result<Notification> {
    let notification: Notification = serde_json::from_slice(&request.body)?;
    Ok(Notification { path: request.path, ..notification })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_read_from_its_request() {
        let body = r#"{"status":"firing","alerts":[{"status":"firing","labels":{"subject":"a - b"},"annotations":{}}],"more":1}"#;
        let notification = read(Request { path: "/page".into(), body: body.into() }).unwrap();
        assert_eq!((&*notification.path, &*notification.status), ("/page", "firing"));
        assert_eq!(notification.alerts[0].labels["subject"], "a - b");
    }
}
