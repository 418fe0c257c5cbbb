//! `lacuna watch`: the running agent's view, live in a terminal.
//!
//! Threads ask the agent and send what it answers ([`feed`]); the [`state`] takes that, and the keys, as values; the [`view`] is
//! made of the state alone. Only this file and [`screen`] know that there is a terminal.

mod feed;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod incidents;
mod keys;
#[cfg(test)]
mod samples;
mod screen;
mod state;
mod stream;
mod view;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::client::{self, DEFAULT_AGENT};
use super::output;
use crate::clock;
use feed::Update;
use screen::{Input, Screen};
use state::{Flow, State};

/// How long a key, or an answer, waits at most until it is seen.
const TURN: Duration = Duration::from_millis(100);
/// The view is drawn so often although nothing came, since it says how long ago something was.
const EACH: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  lacuna watch                                   # the agent of this host
  lacuna watch --agent http://10.77.0.11:9480    # that of another one
  NO_COLOR=1 lacuna watch                        # without colours

Press ? in it for the keys and for what the bars mean. Without a terminal, `lacuna status` prints the same once.";

/// Arguments of `lacuna watch`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The agent to watch.
    #[arg(long, value_name = "URL", env = "LACUNA_AGENT", default_value = DEFAULT_AGENT, value_parser = client::agent_url)]
    agent: String,
}

pub(super) fn run(args: &Args) -> Result<()> {
    screen::check()?;
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let updates = feed::start(&args.agent).context("cannot start a thread")?;
    let mut state = State::new(args.agent.clone(), output::colour_is_welcome());
    let mut screen = Screen::open()?;
    while !ended.load(Ordering::Relaxed) {
        state.at(clock::boot());
        screen.draw(|frame| {
            let area = frame.area();
            state.hold(view::beyond(&state, area.width.into(), area.height.into()));
            view::draw(frame, &state);
        })?;
        if wait(&mut state, &mut screen, &updates, &ended)? == Flow::Quit {
            break;
        }
    }
    Ok(())
}

/// Until there is something new to draw.
fn wait(state: &mut State, screen: &mut Screen, updates: &Receiver<Update>, ended: &AtomicBool) -> Result<Flow> {
    let began = clock::boot();
    loop {
        let mut changed = match screen.input(TURN)? {
            Input::Key(key) if state.key(key) == Flow::Quit => return Ok(Flow::Quit),
            Input::Key(_) | Input::Resized => true,
            Input::Nothing => false,
        };
        while let Some(update) = next(updates)? {
            state.take(update, clock::boot());
            changed = true;
        }
        if changed || clock::boot().since(began) >= EACH || ended.load(Ordering::Relaxed) {
            return Ok(Flow::GoOn);
        }
    }
}

fn next(updates: &Receiver<Update>) -> Result<Option<Update>> {
    match updates.try_recv() {
        Ok(update) => Ok(Some(update)),
        Err(TryRecvError::Empty) => Ok(None),
        Err(TryRecvError::Disconnected) => bail!("the threads that ask the agent have ended"),
    }
}
