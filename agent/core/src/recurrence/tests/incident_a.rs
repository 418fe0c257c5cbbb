//! Two weeks of stalls: a cold boot makes them go away for about 40 h, then they come once a minute. After a change of kernel
//! parameters, with a restart, it is quiet. What may be believed after 16 h, and after 100 h?

use super::*;

/// Each boot is stopped three hours after its first stall; 8 min later the next one begins.
fn before_the_change() -> (Story, f64) {
    let (mut story, mut now) = (Story::default(), 0.0);
    for onset in [38.0, 41.0, 43.5, 39.5] {
        story = story.boot(now, now + onset + 3.0).burst(now + onset, now + onset + 3.0);
        now += onset + 3.0 + 8.0 / 60.0;
    }
    (story, now)
}

/// Five minutes before the restart somebody notes the change.
fn after(quiet: f64) -> Recurrence {
    let (story, booted) = before_the_change();
    story.boot(booted, booted + quiet).recurrence(booted - 8.0 / 60.0, booted + quiet)
}

#[test]
fn after_16_hours_one_may_believe_next_to_nothing() {
    let told = after(16.0);
    assert_eq!(told.belief, Belief::TooEarly, "{told:#?}");
    let quiet = told.quiet.unwrap();
    assert_eq!(quiet.clock, Clock::SinceBoot);
    near(quiet.chance.unwrap(), 0.999_787, 1e-5);
    near(quiet.chance_at_most.unwrap(), 1.0, 1e-9);
    near(quiet.hours_needed.unwrap(), 37.2, 0.01);
    assert_eq!(quiet.restarts_needed, Some(2));
    assert!(quiet.at_constant_rate.chance < 1e-15, "what one would wrongly believe: {}", quiet.at_constant_rate.chance);
    insta::assert_snapshot!(told.because.join("\n"));
}

#[test]
fn after_100_hours_one_may_believe_that_it_is_gone() {
    let told = after(100.0);
    assert_eq!(told.belief, Belief::Gone, "{told:#?}");
    let quiet = told.quiet.unwrap();
    near(quiet.chance.unwrap(), 0.8 * (10.0167_f64 / 72.0167).powi(3), 1e-3);
    near(quiet.chance_at_most.unwrap(), 0.2, 1e-9);
    assert_eq!(quiet.hours_needed, Some(0.0));
    insta::assert_snapshot!(told.because.join("\n"));
}

/// The change is noted while the stalls go on; it counts from the restart that it takes.
#[test]
fn stalls_between_the_mark_and_its_restart_are_before_the_change() {
    let (story, booted) = before_the_change();
    let told = story.boot(booted, booted + 16.0).recurrence(booted - 0.5, booted + 16.0);
    assert!(told.counts_from.is_some());
    assert_eq!(told.belief, Belief::TooEarly);
    near(told.quiet.unwrap().chance.unwrap(), 0.999_787, 1e-5);
    let (story, booted) = before_the_change();
    let told = story.boot(booted, booted + 16.0).recurrence(booted - 2.0, booted + 16.0);
    assert_eq!(told.belief, Belief::Recurred, "two hours later it is another restart");
}

/// With one restart to learn from, no quiet is long enough; with two and three it takes longer.
#[test]
fn fewer_restarts_tell_less() {
    let after_100 = |onsets: &[f64]| {
        let (mut story, mut now) = (Story::default(), 0.0);
        for onset in onsets {
            story = story.boot(now, now + onset + 3.0).burst(now + onset, now + onset + 3.0);
            now += onset + 3.1;
        }
        story.boot(now, now + 100.0).quiet(now - 0.1, now + 100.0)
    };
    let one = after_100(&[40.0]);
    assert_eq!((one.chance, one.chance_at_most, one.hours_needed), (Some(0.5), Some(0.5), None));
    let (two, three) = (after_100(&[38.0, 42.0]), after_100(&[38.0, 41.0, 43.0]));
    near(two.chance.unwrap(), 0.0405, 0.01);
    near(three.chance.unwrap(), 0.0098, 0.01);
}

/// Quiet that begins in the very boot which had the stalls, as often as once a minute, is another matter than a restart.
#[test]
fn quiet_without_a_restart_tells_at_once() {
    let (story, end) = before_the_change();
    let mark = end - 8.0 / 60.0;
    let quiet = story.watched_in_boot(end - 42.64, mark, mark + 2.0).quiet(mark, mark + 2.0);
    assert_eq!(quiet.clock, Clock::SinceIncident);
    assert!(quiet.chance.unwrap() < 0.003, "{quiet:?}");
}

/// A machine whose clock stands at 1970 until it is set, ten minutes after each boot.
#[test]
fn a_wall_clock_that_is_set_after_the_boot_makes_no_other_boot() {
    let (mut story, booted) = before_the_change();
    story = story.boot(booted, booted + 16.0);
    for one in story.history.watched.clone() {
        story.history.watched.push(Watched { booted_ms: 0, from_ms: 20_000, to_ms: 600_000, ..one });
    }
    let quiet = story.quiet(booted - 8.0 / 60.0, booted + 16.0);
    assert_eq!(quiet.clock, Clock::SinceBoot);
    near(quiet.chance.unwrap(), 0.999_787, 1e-5);
}

/// Were the agent down from the restart on, nobody knows.
#[test]
fn an_agent_that_is_down_sees_no_quiet() {
    let (story, booted) = before_the_change();
    let told = story.recurrence(booted - 0.1, booted + 100.0);
    assert_eq!(told.belief, Belief::NotWatched);
}

#[test]
fn one_that_comes_back_is_not_gone() {
    let (story, booted) = before_the_change();
    let told = story.boot(booted, booted + 60.0).incident(booted + 39.0).recurrence(booted - 0.1, booted + 60.0);
    assert_eq!(told.belief, Belief::Recurred);
    assert!(told.change.unwrap().ratio < 0.01);
    assert!(told.quiet.is_none());
}

/// At a constant rate, whatever restarts there were, watched time is the clock.
#[test]
fn the_plain_case_is_the_plain_case() {
    let mut story = Story::default().boot(0.0, 50.0).boot(50.0, 110.0);
    for at in [3.0, 9.5, 22.0, 26.0, 41.0, 51.0, 58.5, 70.0, 77.0, 95.0] {
        story = story.incident(at);
    }
    let quiet = story.quiet(100.0, 110.0);
    assert_eq!(quiet.clock, Clock::ConstantRate, "{quiet:?}");
    near(quiet.chance.unwrap(), (100.0_f64 / 110.0).powf(10.5), 1e-6);
    near(quiet.hours_needed.unwrap(), 100.0 * (20.0_f64.powf(1.0 / 10.5) - 1.0) - 10.0, 1e-6);
}

/// Bursts that no restart explains: three long pauses of thirty gaps are what this one is compared with.
#[test]
fn bursts_without_restarts_are_no_constant_rate() {
    let mut story = Story::default().boot(0.0, 100.0);
    for begin in [5.0, 25.0, 50.0, 68.0] {
        story = story.burst(begin, begin + 0.2);
    }
    let quiet = story.quiet(69.0, 79.0);
    assert_eq!(quiet.clock, Clock::SinceIncident, "{quiet:?}");
    assert!(quiet.at_constant_rate.chance < quiet.chance.unwrap());
    assert_eq!(quiet.pause_hours.len(), 3);
}

/// Each of twelve bursts ended by itself, after an hour, for most of a day. A change is noted half a minute after the last of
/// them: two minutes later nothing is proved, though of 700 gaps only those twelve were longer. The pauses are what tells.
#[test]
fn the_end_of_a_burst_is_no_cure() {
    let mut story = Story::default().boot(0.0, 13.0 * 24.0);
    for day in 0..12 {
        let begin = f64::from(day) * 24.0 + f64::from(day % 3) * 0.5;
        story = story.burst(begin, begin + 1.0);
    }
    let last = at_hours(story.history.incidents.last().unwrap().started_ms);
    let (mark, soon) = (last + 0.5 / 60.0, last + 2.5 / 60.0);
    let told = story.recurrence(mark, soon);
    assert_eq!(told.belief, Belief::TooEarly, "{told:#?}");
    let quiet = told.quiet.unwrap();
    assert_eq!((quiet.clock, quiet.pause_hours.len()), (Clock::SinceIncident, 11));
    near(quiet.chance_at_most.unwrap(), 1.0, 1e-9);
    let needed = quiet.hours_needed.unwrap();
    assert!((22.0..30.0).contains(&needed), "about as long as the longest pause: {needed}");
    assert_eq!(story.recurrence(mark, mark + 36.0).belief, Belief::Gone);
}

#[test]
fn counts_by_hour_and_gaps() {
    let story = Story::default().boot(0.0, 30.0).incident(1.25).incident(1.5).incident(25.75);
    let told = &story.report(29.0, 30.0).series[0];
    assert_eq!((told.incidents, told.stalls), (3, 3));
    assert_eq!(told.by_hour_of_day[1], 3);
    assert_eq!(told.busiest_hour, BusiestHour { at: "2013-07-01T01:00:00.000Z".into(), incidents: 2 });
    let gaps = told.gaps.unwrap();
    assert_eq!((gaps.shortest_seconds, gaps.longest_seconds), (900.0, 87_300.0));
    assert_eq!(HOUR_MS, at(1.0) - at(0.0));
}

/// A peer with a stall each hour, whose agent does not come back after the change: whoever watches it sees no quiet.
#[test]
fn a_peer_that_is_not_heard_is_not_quiet() {
    let mut story = Story::default().boot(0.0, 200.0);
    for hour in 1..100 {
        story = story.incident(f64::from(hour));
    }
    for one in &mut story.history.incidents {
        (one.host, one.subject) = (Some("db2".into()), "db2".into());
    }
    let unheard = story.recurrence(100.0, 200.0);
    assert_eq!(unheard.belief, Belief::Gone, "no account is kept of db2: {unheard:#?}");
    let heard = Watched { host: "db2".into(), boot_id: "2".into(), booted_ms: 0, from_ms: at(0.0), to_ms: at(100.0) };
    story.history.watched.push(heard.clone());
    assert_eq!(story.recurrence(100.0, 200.0).belief, Belief::NotWatched);
    story.history.watched.push(Watched { boot_id: "3".into(), from_ms: at(150.0), to_ms: at(200.0), ..heard.clone() });
    let told = story.recurrence(100.0, 200.0);
    assert_eq!(told.belief, Belief::Gone);
    near(told.quiet.unwrap().hours, 50.0, 1e-6);
    // An account that begins later than the agent: before it, the agent's own time is what was watched.
    story.history.watched.retain(|one| one.host != "db2");
    story.history.watched.push(Watched { from_ms: at(50.0), ..heard });
    assert_eq!(
        story.recurrence(100.0, 200.0).belief,
        Belief::NotWatched,
        "it was told of stalls before, and nothing since"
    );
    assert_eq!(story.recurrence(30.0, 60.0).belief, Belief::Recurred);
}

/// The boots of a peer are those that its restarts tell of.
#[test]
fn restarts_of_a_peer_are_its_boots() {
    let (mut story, _) = before_the_change();
    for one in &mut story.history.incidents {
        (one.host, one.subject) = (Some("db2".into()), "db2".into());
    }
    let boots: Vec<i64> = story.history.watched.iter().map(|one| one.booted_ms).collect();
    let end = story.history.watched.last().unwrap().to_ms;
    for booted in boots.into_iter().chain([end + 480_000]) {
        let restart = Occurrence {
            class: Class::Restart,
            subject: "db2".into(),
            host: Some("db2".into()),
            peer: None,
            started_ms: booted - 60_000,
            ended_ms: Some(booted),
            times: 1,
        };
        story.history.incidents.push(restart);
    }
    let hours = (end + 480_000 - START_MS) as f64 / 3_600_000.0;
    let report = story.boot(hours - 0.1, hours + 16.0).report(hours - 8.0 / 60.0, hours + 16.0);
    let lockups = report.series.iter().find(|one| one.class == Class::TimerLockup).unwrap();
    let quiet = lockups.recurrence.clone().unwrap().quiet.unwrap();
    assert_eq!(quiet.clock, Clock::SinceBoot);
    assert!(quiet.chance.unwrap() > 0.99, "{quiet:?}");
}
