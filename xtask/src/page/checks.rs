//! What the page must show, and how.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{CHANGE, Look, Stage};
use crate::lab::api::LOCAL;

const DESK: Look = Look { size: (1280, 900), dark: false, scripts: true };
const NIGHT: Look = Look { dark: true, ..DESK };
const PHONE: Look = Look { size: (360, 740), ..NIGHT };
/// Without scripts.
const PLAIN: Look = Look { scripts: false, ..DESK };

/// How soon something is on the page. An incident opens after 0.3 s, and the page asks anew 0.25 s after it was told; who hears whom
/// is known once a second, and without news the page asks every 5 s.
const SOON: Duration = Duration::from_secs(10);
/// How long the cut is at least, so that it can be seen among its margins.
const CUT: Duration = Duration::from_secs(6);
/// A cut is told from a dead host with the help of the third one, or once it is over and a moment later.
const IN_THE_END: Duration = Duration::from_secs(15);

/// All of it, in the order in which it happens.
pub(super) fn all(stage: &mut Stage, pictures: &Path) -> Result<()> {
    stage.note_change()?;
    step("live", live(stage, pictures))?;
    let incident = step("incident", incident(stage, pictures))?;
    step("keyboard", keyboard(stage, &incident))?;
    step("phone", phone(stage, &incident, pictures))?;
    step("without scripts", without_scripts(stage, &incident))?;
    step("files", files(stage, &incident, pictures))?;
    stage.agents_run()
}

fn step<T>(name: &str, done: Result<T>) -> Result<T> {
    println!("{name}: {}", if done.is_ok() { "ok" } else { "FAILED" });
    done.with_context(|| format!("page, {name}"))
}

/// The page is open before the cut: the incident opens and closes on it, and who hears whom changes, without loading it again.
fn live(stage: &mut Stage, pictures: &Path) -> Result<()> {
    visit(stage, &home("/"), DESK)?;
    becomes(stage, "document.getElementById('live').textContent === 'live'", SOON)?;
    becomes(stage, "document.querySelectorAll('.matrix td.good').length === 6", SOON)?;
    becomes(stage, &format!("document.getElementById('changes').textContent.includes('{CHANGE}')"), SOON)?;
    stage.browser.evaluate("window.sameAsBefore = true")?;
    stage.cut()?;
    let end = Instant::now() + CUT;
    let open = "window.sameAsBefore && document.querySelectorAll('#open a').length > 0";
    let shown = becomes(stage, open, SOON)
        .and_then(|()| becomes(stage, "document.querySelectorAll('.matrix td.bad').length >= 1", SOON))
        .and_then(|()| becomes(stage, "document.getElementById('open').textContent.includes('path-drop')", SOON))
        .and_then(|()| stage.browser.picture(&pictures.join("overview-light.png")))
        .and_then(|()| stage.stop.sleep_until(end));
    stage.mend()?;
    shown?;
    let closed = "window.sameAsBefore && document.querySelectorAll('#open a').length === 0 && \
                  document.getElementById('recent').textContent.includes('path-drop')";
    becomes(stage, closed, IN_THE_END)?;
    no_problems(stage)
}

/// The page of the newest incident; its path.
fn incident(stage: &mut Stage, pictures: &Path) -> Result<String> {
    let path = stage.browser.evaluate("document.querySelector('#recent a').getAttribute('href')")?;
    let path = path.as_str().context("no link to an incident")?.to_owned();
    visit(stage, &home(&path), NIGHT)?;
    for (what, expression) in [
        ("a lane for each host", "document.querySelectorAll('#drawing .name').length >= 3"),
        ("what came first", "/gap/.test(document.querySelector('.first').textContent)"),
        (
            "the first lane is one that stopped",
            "!/did not stop/.test(document.querySelector('#drawing .name').textContent)",
        ),
        ("a bar is as long as the cut", BAR_IS_LONG),
        (
            "each bar leads to a row",
            "[...document.querySelectorAll('#drawing a')].every(a => document.querySelector(a.getAttribute('href')))",
        ),
        (
            "the change before it",
            "document.getElementById('timeline').textContent.includes('the new filter rules on a')",
        ),
        ("what it rules out", "document.querySelectorAll('#ruled-out li').length > 3"),
        ("its trace", "/[0-9a-f]{32}/.test(document.getElementById('facts').textContent)"),
        ("dark", "getComputedStyle(document.body).backgroundColor === 'rgb(20, 23, 26)'"),
    ] {
        ensure!(stage.browser.evaluate(expression)? == true, "{what}: not so on {path}");
    }
    stage.browser.picture(&pictures.join("incident-dark.png"))?;
    no_problems(stage)?;
    Ok(path)
}

/// The silence takes most of the incident's own time, which takes most of the drawing.
const BAR_IS_LONG: &str = "Math.max(...[...document.querySelectorAll('#drawing rect.gap')].map(bar => bar.getBoundingClientRect().width)) \
                           > 0.4 * document.querySelector('#drawing svg').getBoundingClientRect().width";

/// Zoom by plus, minus and zero; each bar is reached by tab and followed by enter.
fn keyboard(stage: &mut Stage, path: &str) -> Result<()> {
    visit(stage, &home(path), DESK)?;
    stage.browser.evaluate("document.getElementById('drawing').focus()")?;
    let width = "document.querySelector('#drawing svg').getAttribute('width')";
    for (key, expected) in [("+", "200%"), ("+", "400%"), ("-", "200%"), ("0", "100%")] {
        stage.browser.press(key)?;
        becomes(stage, &format!("{width} === '{expected}'"), SOON).with_context(|| format!("the key {key}"))?;
    }
    stage.browser.press("+")?;
    becomes(
        stage,
        "document.getElementById('drawing').scrollWidth > document.getElementById('drawing').clientWidth",
        SOON,
    )?;
    stage.browser.press("Tab")?;
    becomes(stage, "document.activeElement.matches('#drawing a')", SOON)?;
    stage.browser.press("Enter")?;
    becomes(stage, "/^#e[0-9]+$/.test(location.hash) && document.querySelector('tr:target') !== null", SOON)?;
    no_problems(stage)
}

/// Nothing is wider than the screen but what scrolls by itself, and what is to be touched is large enough.
fn phone(stage: &mut Stage, path: &str, pictures: &Path) -> Result<()> {
    for (path, picture) in [("/", "overview-phone.png"), (path, "incident-phone.png")] {
        visit(stage, &home(path), PHONE)?;
        becomes(stage, "document.documentElement.scrollWidth <= 360", SOON).with_context(|| path.to_owned())?;
        stage.browser.picture(&pictures.join(picture))?;
        no_problems(stage)?;
    }
    becomes(stage, "document.querySelector('[data-zoom]').getBoundingClientRect().height >= 32", SOON)?;
    let text = "Math.min(...[...document.querySelectorAll('#drawing text')].map(text => parseFloat(getComputedStyle(text).fontSize)))";
    becomes(stage, &format!("{text} >= 12"), SOON)
}

/// All of it is there, it loads itself again where it changes, and what only scripts can do is not offered.
fn without_scripts(stage: &mut Stage, path: &str) -> Result<()> {
    visit(stage, &home("/"), PLAIN)?;
    for (what, expression) in [
        ("it loads itself again", "document.querySelector('noscript meta[http-equiv=refresh]') !== null"),
        ("it does not say that it is live", "document.getElementById('live').textContent === ''"),
        ("the incident", "document.querySelectorAll('#recent a').length > 0"),
        ("who hears whom", "document.querySelectorAll('.matrix td').length === 9"),
        ("probes", "document.querySelectorAll('#probes tbody tr').length > 0"),
    ] {
        ensure!(stage.browser.evaluate(expression)? == true, "{what}: not so");
    }
    visit(stage, &home(path), PLAIN)?;
    for (what, expression) in [
        ("the drawing", "document.querySelectorAll('#drawing rect').length > 3"),
        ("no buttons", "[...document.querySelectorAll('[data-zoom]')].every(button => button.hidden)"),
        ("a closed incident stays as it is", "document.querySelector('meta[http-equiv=refresh]') === null"),
    ] {
        ensure!(stage.browser.evaluate(expression)? == true, "{what}: not so");
    }
    no_problems(stage)
}

/// What the commands write is the same page, asks nobody, and zooms.
fn files(stage: &mut Stage, path: &str, pictures: &Path) -> Result<()> {
    let id = path.rsplit('/').next().unwrap_or_default().to_owned();
    let (store, one, report) = (stage.file("a.store"), stage.file("incident.html"), stage.file("report.html"));
    stage.command(&["explain", &id, "--store", &store, "--html", &one])?;
    stage.command(&["report", "--store", &store, "--html", &report])?;
    visit(stage, &format!("file://{one}"), DESK)?;
    for (what, expression) in [
        ("the drawing", "document.querySelectorAll('#drawing .name').length >= 3"),
        (
            "no link out of it",
            "[...document.querySelectorAll('[href]')].every(a => a.getAttribute('href').startsWith('#'))",
        ),
        (
            "zoom",
            "(document.querySelector('[data-zoom]').click(), document.querySelector('#drawing svg').getAttribute('width') === '200%')",
        ),
    ] {
        ensure!(stage.browser.evaluate(expression)? == true, "{what}: not so in {one}");
    }
    no_problems(stage)?;
    visit(stage, &format!("file://{report}"), DESK)?;
    let told =
        format!("document.body.textContent.includes('path-drop') && document.body.textContent.includes('{CHANGE}')");
    ensure!(stage.browser.evaluate(&told)? == true, "the report does not have what happened");
    stage.browser.picture(&pictures.join("report-light.png"))?;
    no_problems(stage)
}

fn home(path: &str) -> String {
    format!("{LOCAL}{path}")
}

fn visit(stage: &mut Stage, url: &str, look: Look) -> Result<()> {
    stage.browser.visit(url, look)
}

fn becomes(stage: &mut Stage, expression: &str, patience: Duration) -> Result<()> {
    ensure!(stage.browser.becomes(expression, patience)?, "not so after {patience:?}: {expression}");
    Ok(())
}

fn no_problems(stage: &mut Stage) -> Result<()> {
    let problems = stage.browser.problems(&[&home("/"), "file://"])?;
    ensure!(problems.is_empty(), "the browser complains: {}", problems.join("; "));
    Ok(())
}
