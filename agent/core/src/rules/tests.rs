//! Cases whose times no story has: those go in whole intervals.

use std::time::Duration;

use super::{Case, Context, judge};
use crate::account::Account;
use crate::evidence::StallReport;
use crate::gap::Gap;
use crate::incident::Class;
use crate::peer::Baseline;
use crate::settings::Settings;
use crate::time::Nanos;

const INTERVAL: Duration = Duration::from_millis(100);

#[test]
fn an_agent_that_is_hardly_late_as_a_cut_ends_did_not_cause_it() {
    let (since, back) = (Nanos(10_000_000_000), Nanos(15_106_000_000));
    let mut gap = Gap::new("b", Baseline::default(), since, since.plus(INTERVAL * 3), INTERVAL);
    (gap.heard_again, gap.back, gap.resumed) = (true, Some(back), back);
    (gap.lost_from, gap.longest_run) = (49, 49);
    gap.unsent = Duration::from_millis(106);
    let from = back.minus(gap.unsent);
    let report = StallReport { from, to: back, class: Class::AgentStall, ..StallReport::default() };
    gap.account = Some(Account { report, from, to: back });
    let settings = Settings { host: "a".into(), ..Settings::default() };
    let context = Context { settings: &settings, now: back.plus(INTERVAL), watched_since: None, events_lost: None };
    assert_eq!(judge(&context, Case::Gap(&gap)).verdict.class, Class::PathDrop);
    gap.lost_from = 1;
    assert_eq!(judge(&context, Case::Gap(&gap)).verdict.class, Class::AgentStall);
}

/// It came in as this host's card fell deaf, and was read once that was over.
#[test]
fn a_peer_that_was_late_for_less_than_a_gap_is_not_what_this_host_missed() {
    let (since, settings) = (Nanos(10_000_000_000), Settings { host: "a".into(), ..Settings::default() });
    let class_of = |late: Duration| {
        let back = since.plus(INTERVAL + late);
        let mut gap = Gap::new("b", Baseline::default(), since, since.plus(INTERVAL * 3), INTERVAL);
        (gap.heard_again, gap.back, gap.resumed, gap.unsent) = (true, Some(back), back, late);
        let report = StallReport { from: since, to: back, class: Class::CpuSaturation, ..StallReport::default() };
        gap.account = Some(Account { report, from: since, to: back });
        let now = back.plus(Duration::from_secs(3));
        let context = Context { settings: &settings, now, watched_since: None, events_lost: None };
        judge(&context, Case::Gap(&gap)).verdict.class
    };
    assert_eq!(class_of(settings.gap), Class::CpuSaturation);
    assert_eq!(class_of(settings.gap / 2), Class::Unknown);
}
