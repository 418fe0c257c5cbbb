//! Who is paged, and how often.

use super::prometheus::Alert;
use super::webhook::Notification;

/// The page that must come, once, and its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paged {
    /// Whom it must be about, as the rules name it.
    pub(super) subject: &'static str,
    /// The hosts that say so in its text.
    pub(super) says: &'static [&'static str],
}

impl Paged {
    /// Whether that alert is it, and fires.
    pub(super) fn fires(&self, alert: &Alert) -> bool {
        let is = |label: &str, value: &str| alert.labels.get(label).is_some_and(|found| found == value);
        alert.state == "firing" && is("alertname", "LacunaStall") && is("subject", self.subject)
    }

    /// Whether there was one word that it fires and one that it is over, each about that subject alone.
    pub(super) fn is_all_of(&self, pages: &[Notification]) -> Result<(), String> {
        let count = |status: &str| pages.iter().filter(|page| page.status == status).count();
        let about = |page: &Notification| {
            let subjects: Vec<_> = page.alerts.iter().filter_map(|alert| alert.labels.get("subject")).collect();
            subjects == [self.subject] && page.alerts.iter().all(|alert| alert.status == page.status)
        };
        // In the end it may be over for one of them before the other.
        let mut opened = pages.iter().filter(|page| page.status == "firing").flat_map(|page| &page.alerts);
        let named = opened.all(|alert| {
            let text = alert.annotations.get("description").map(String::as_str).unwrap_or_default();
            self.says.iter().all(|host| text.contains(&format!("(says {host})")))
        });
        if (count("firing"), count("resolved")) == (1, 1) && pages.iter().all(about) && named {
            return Ok(());
        }
        let lines = pages.iter().map(|page| format!("{} {:?}", page.status, page.alerts));
        Err(format!("the pages were: {}", lines.collect::<Vec<_>>().join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::webhook;
    use super::*;

    const SUBJECT: &str = "a - b";
    const PAGE: Paged = Paged { subject: SUBJECT, says: &["a", "b"] };

    fn page(status: &str, subjects: &[&str]) -> Notification {
        let alerts = subjects.iter().map(|subject| webhook::Alert {
            status: status.into(),
            labels: [("subject".to_owned(), (*subject).to_owned())].into(),
            annotations: [("description".to_owned(), "path-drop (says a) path-drop (says b) ".to_owned())].into(),
        });
        Notification { path: "/page".into(), status: status.into(), alerts: alerts.collect() }
    }

    #[test]
    fn one_page_and_one_end_of_it_are_what_there_may_be() {
        let (fires, over) = (page("firing", &[SUBJECT]), page("resolved", &[SUBJECT]));
        assert_eq!(PAGE.is_all_of(&[fires.clone(), over.clone()]), Ok(()));
        for wrong in [
            vec![],
            vec![fires.clone()],
            vec![fires.clone(), fires.clone(), over.clone()],
            vec![page("firing", &["b"]), over.clone()],
            vec![page("firing", &[SUBJECT, "c"]), over.clone()],
            vec![fires.clone(), over.clone(), over.clone()],
        ] {
            assert!(PAGE.is_all_of(&wrong).is_err(), "{wrong:?}");
        }
        let of_three = Paged { says: &["a", "b", "c"], ..PAGE };
        assert!(of_three.is_all_of(&[fires, over]).is_err(), "c does not say so");
    }
}
