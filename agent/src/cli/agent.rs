//! `lacuna agent`: puts the parts together, runs them, and takes them down again.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lacuna_core::engine::{Engine, Me};
use lacuna_core::gap::hex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::clock;
use crate::config::Config;
use crate::control::{self, ControlSocket};
use crate::cpus::{CpuWatch, DRIVER, Pulse};
use crate::discovery::Discovery;
use crate::driver::{Command, Driver, IoWatch, Network, OwnNetwork, OwnWatch, Parts, Sockets};
use crate::heartbeat::icmp::Echo;
use crate::heartbeat::keys::{KeyRing, Keys};
use crate::heartbeat::udp::Heartbeats;
use crate::host::HostFiles;
use crate::host::kmsg::Kmsg;
use crate::link::LinkWatch;
use crate::link_state::InterfaceWatch;
use crate::memory;
use crate::probes::{self, Probes};
use crate::recorder::{self, Exporter, Recorder, Ring};
use crate::shared::{Identity, Shared};
use crate::store::{Found, Marker, Store, StoreError, StoreReader, Writer, spawn_writer};
use crate::traces::{self, Spool, Traces};
use crate::web;

/// Commands that may wait for the loop.
const INBOX: usize = 16;
/// The loop's priority, as `nice` has it: heartbeats must leave although the host is busy, and they cost little.
const NICE: i32 = -15;
/// Readers of the store at once.
const BLOCKING_THREADS: usize = 4;
/// Longer than any agent runs.
const FOR_GOOD: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

const EXAMPLES: &str = "\
Examples:
  lacuna config check /etc/lacuna/lacuna.toml      # every mistake with its line
  lacuna agent --config /etc/lacuna/lacuna.toml
  kill -HUP \"$(pidof lacuna)\"                      # re-reads the file; where it is wrong, the old one stays
  LACUNA_LOG=debug lacuna agent --config FILE      # a longer log on stderr

Then `lacuna watch`, `lacuna status`, or the page on http://127.0.0.1:9480/ show what it sees.";

/// Arguments of `lacuna agent`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from doing its main job: a port in use, an address that is none of this host's.
pub fn run(args: &Args, config: Config) -> Result<()> {
    let files = HostFiles::default();
    let http = listen(&config)?;
    let keys = Arc::new(KeyRing::new(Keys::of(&config.heartbeat)?));
    let heartbeats = match config.exchanges_heartbeats() {
        true => Some(Heartbeats::bind(config.heartbeat.listen)?),
        false => None,
    };
    // They are detached when this goes out of scope, at the end.
    let mut probes = attach(&config);
    memory::keep();
    if let Err(error) = memory::stay() {
        tracing::info!("the agent's memory may be paged out: {error}; CAP_SYS_RESOURCE keeps it");
    }
    let me = me(&files)?;
    let shared = Arc::new(Shared::new(identity(&config, &me), probes.status.clone(), probes.metrics.clone()));
    let (commands, inbox) = sync_channel(INBOX);
    let found = Discovery::start(&config, Arc::clone(&shared), commands.clone());
    let (discovery, config) = found.context("cannot start to look for peers")?;
    let echo = open_echo(&shared);
    let sockets = Sockets { heartbeats, echo };
    let network = Network::new(&config, &me, Arc::clone(&keys), sockets, files.clone());
    let writer = open_store(&config, &shared)?;
    let recorder = recorder(&config, &network, &me, &shared);
    let control = open_control(&config, &shared).map(|socket| (socket, writer.marker()));
    check_main_job(&config, &shared);
    announce(&config, &network, &shared);
    let continued = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGCONT, Arc::clone(&continued))?;
    let timers = probes.metrics.as_ref().is_some_and(|metrics| metrics.timer_lateness().is_some());
    let events = probes.events.take();
    let pulse = Arc::new(Pulse::default());
    let cpus = CpuWatch::start(files.clone(), probes.metrics.clone(), Arc::clone(&pulse), commands.clone());
    let parts = Parts {
        engine: Engine::new(network.settings(&config), me),
        own: OwnWatch::new(files.clone(), continued, timers).with_log(open_log(&files, &shared)),
        own_network: OwnNetwork::new(files.clone(), open_links(&config, &shared)),
        io: IoWatch::new(files.clone()),
        link: LinkWatch::new(&config, network.neighbour()),
        network,
        cpus,
        pulse,
        events,
        writer: Some(writer),
        recorder,
        traces: traces(&config, &shared),
        shared: Arc::clone(&shared),
    };
    let exporter = parts.recorder.as_ref().map(Recorder::exporter);
    let driver = Driver::new(parts, config.clone());
    let (ended, end) = mpsc::channel();
    let (alive, gone) = oneshot::channel();
    let work = move || {
        let _alive: oneshot::Sender<()> = alive;
        ended.send(prioritised(driver, &inbox))
    };
    thread::Builder::new().name(DRIVER.into()).spawn(work).context("cannot start the driver's thread")?;
    *shared.ready.write() = true;
    let doors = Doors { http, control, exporter };
    serve(args, &config, shared, doors, &Reloads { discovery: &discovery, keys: &keys }, gone)?;
    // A loop that is gone already panicked: then there is nobody to tell, and the next line says so.
    let _ = commands.send(Command::Stop);
    let finished = end.recv_timeout(Duration::from_secs(5));
    if let Some(writer) = finished.context("the driver's thread panicked, or did not end within 5 s")? {
        let _ = writer.finish();
    }
    tracing::info!("ended; the peers were told");
    Ok(())
}

fn listen(config: &Config) -> Result<TcpListener> {
    let address = config.http.listen;
    let listener = TcpListener::bind(address).with_context(|| {
        format!(
            "cannot listen on {address} (http.listen): another agent may be running, or the address is not this host's"
        )
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn attach(config: &Config) -> Probes {
    let shortest = config.thresholds.gap.min(config.thresholds.cpu_stall);
    let options =
        probes::Options { timer_late: shortest / 2, runqueue_delay: shortest / 2, ..probes::Options::default() };
    let probes = probes::attach(&options);
    for probe in probes.status.iter().filter(|probe| probe.is_missing()) {
        let because = probe.because.as_deref().unwrap_or("no reason given");
        tracing::warn!(probe = probe.probe, hook = probe.hook, "not attached: {because}");
    }
    let replaced = probes.status.iter().filter(|probe| !probe.attached && !probe.is_missing()).count();
    if replaced > 0 {
        tracing::info!("{replaced} hooks are not attached, other sources take their place; see `lacuna doctor`");
    }
    probes
}

/// The incarnation grows with each start: the boot clock does, and a snapshot that is restored is not set back by it
/// alone, so the wall clock is taken.
fn me(files: &HostFiles) -> Result<Me> {
    let boot_id = files.boot_id().context("cannot read /proc/sys/kernel/random/boot_id: is /proc mounted?")?;
    Ok(Me { boot_id, incarnation: clock::read().wall.0, facts: files.facts() })
}

fn identity(config: &Config, me: &Me) -> Identity {
    Identity {
        host: config.host.clone(),
        labels: config.labels.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: me.facts.kernel.clone(),
        boot_id: hex(&me.boot_id),
        incarnation: me.incarnation,
        started_at: humantime::format_rfc3339_millis(clock::wall()).to_string(),
    }
}

/// Without a disk to write to all is judged as ever, and cannot be judged again later.
fn recorder(config: &Config, network: &Network, me: &Me, shared: &Arc<Shared>) -> Option<Recorder> {
    let folder = config.store.path.join(recorder::FOLDER);
    let settings = network.settings(config);
    let started = Ring::open(&folder, config.recorder.size, me.incarnation)
        .and_then(|ring| Recorder::start(ring, settings, me.clone(), Arc::clone(shared), clock::boot()));
    started
        .map_err(|error| {
            let because = format!("nothing is recorded in {}: {error}", folder.display());
            tracing::warn!("{because}");
            shared.degrade(recorder::PART, because);
        })
        .ok()
}

/// Without a disk to keep them on, no traces are sent: nothing would be known of what was.
fn traces(config: &Config, shared: &Arc<Shared>) -> Option<Traces> {
    let otlp = config.otlp.as_ref()?;
    let folder = config.store.path.join(traces::FOLDER);
    let started = Spool::open(&folder, otlp.spool).and_then(|spool| Traces::start(otlp, spool, Arc::clone(shared)));
    started
        .map_err(|error| {
            let because = format!("no traces are sent: {}: {error}", folder.display());
            tracing::warn!("{because}");
            shared.degrade("otlp", because);
        })
        .ok()
}

/// Without the kernel's log its own watchdogs are no evidence, and everything else goes on.
fn open_log(files: &HostFiles, shared: &Shared) -> Option<Kmsg> {
    files
        .kmsg()
        .map_err(|error| {
            tracing::warn!("{error}");
            shared.degrade("kmsg", error.to_string());
        })
        .ok()
}

/// Without netlink the counters of the protocols are read all the same.
fn open_links(config: &Config, shared: &Shared) -> Option<InterfaceWatch> {
    InterfaceWatch::open(&config.watch.interfaces)
        .map_err(|error| {
            let because = format!("interfaces are not watched: netlink: {error}");
            tracing::warn!("{because}");
            shared.degrade("netlink", because);
        })
        .ok()
}

fn open_echo(shared: &Shared) -> Option<Echo> {
    // The process id tells the requests of several agents on one host apart.
    let identifier = u16::try_from(std::process::id() & 0xffff).unwrap_or(0);
    match Echo::open(identifier) {
        Ok(echo) => Some(echo),
        Err(error) => {
            let because = format!("no echo requests ({error}): run as root or give CAP_NET_RAW");
            tracing::warn!("{because}");
            shared.degrade("icmp", because);
            None
        }
    }
}

/// A store that cannot be used is told in `/healthz`; the agent watches all the same.
fn open_store(config: &Config, shared: &Arc<Shared>) -> Result<Writer> {
    let opened = Store::open(&config.store);
    let found = match &opened {
        Ok(store) => store.open_incidents(),
        // Those are of the other agent.
        Err(StoreError::InUse { .. }) => Ok(Found::default()),
        // One that cannot be written can often be read; why it cannot is said by the store's thread, which tries again.
        Err(_) => StoreReader::new(&config.store.path).open_incidents().or_else(|_| Ok(Found::default())),
    };
    match found {
        Ok(found) => found.incidents.into_iter().for_each(|old| shared.incidents.write().put(Arc::new(old))),
        Err(error) => tracing::error!("incidents of an earlier run stay open: {error}"),
    }
    spawn_writer(config.store.clone(), opened, Arc::clone(shared)).context("cannot start the store's thread")
}

/// Without it nobody can note a change; what is watched is watched all the same.
fn open_control(config: &Config, shared: &Shared) -> Option<ControlSocket> {
    ControlSocket::bind(&config.control.socket)
        .map_err(|error| {
            tracing::warn!("no marks are taken, and no recordings given: {error}");
            shared.degrade("control", format!("no marks are taken: {error}"));
        })
        .ok()
}

/// Without peers and without any probe there is nothing to watch.
fn check_main_job(config: &Config, shared: &Shared) {
    let probes = shared.probes.read();
    let missing = probes.iter().filter(|probe| probe.is_missing());
    let missing: Vec<String> = missing.map(|probe| format!("{} ({})", probe.probe, probe.hook)).collect();
    if !missing.is_empty() {
        shared.degrade("probes", format!("not attached: {}; see `lacuna doctor`", missing.join(", ")));
    }
    if !config.exchanges_heartbeats() && !probes.iter().any(|probe| probe.attached) {
        let why = "no peer is configured and no probe is attached: there is nothing to watch".to_owned();
        tracing::error!("{why}");
        *shared.failed.write() = Some(why);
    }
}

/// What it watches, and where to look.
fn announce(config: &Config, network: &Network, shared: &Shared) {
    let attached = shared.probes.read().iter().filter(|probe| probe.attached).count();
    tracing::info!("{} watches this kernel with {attached} probes", config.host);
    for (name, address) in network.peers() {
        tracing::info!("watching peer {name} at {address}");
    }
    if let Some(gateway) = network.gateway() {
        tracing::info!("watching the default gateway {gateway}");
    }
    for note in config.without_effect() {
        tracing::warn!("{note}");
    }
    tracing::info!("look at http://{}/ or run `lacuna status`", config.http.listen);
}

fn prioritised(driver: Driver, inbox: &mpsc::Receiver<Command>) -> Option<Writer> {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!("cannot raise the priority of the heartbeats ({error}): a busy host may look stalled");
    }
    driver.run(inbox)
}

/// Where others reach the agent.
struct Doors {
    http: TcpListener,
    control: Option<(ControlSocket, Marker)>,
    exporter: Option<Exporter>,
}

/// Serves requests on the control socket; without one, nothing.
async fn serve_control(control: Option<(ControlSocket, Marker)>, recorder: Option<Exporter>, shared: Arc<Shared>) {
    let Some((socket, marker)) = control else { return std::future::pending().await };
    match socket.listener() {
        Ok(listener) => control::serve(listener, control::Behind { marker, recorder, shared }).await,
        Err(error) => {
            shared.degrade("control", format!("no marks are taken: {error}"));
            std::future::pending().await
        }
    }
}

/// The web page, the control socket and the signals, until the agent is to end or its loop is gone: nobody would watch then.
fn serve(
    args: &Args,
    config: &Config,
    shared: Arc<Shared>,
    doors: Doors,
    reloads: &Reloads<'_>,
    gone: oneshot::Receiver<()>,
) -> Result<()> {
    // A thread that ends gives memory back, which waits for every CPU that ran this process: also for one that is locked up.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(FOR_GOOD)
        .enable_all()
        .build()?;
    let reader = StoreReader::new(&config.store.path);
    let recordings = doors.exporter.clone().filter(|_| config.http.recordings);
    let signals = Arc::clone(&shared);
    let outcome = runtime.block_on(async {
        let stop = async {
            tokio::select! {
                () = watch_signals(args, config, reloads, &signals) => {}
                _ = gone => {}
            }
        };
        let control = serve_control(doors.control, doors.exporter, Arc::clone(&shared));
        tokio::select! {
            served = web::serve(shared, Some(reader), recordings, doors.http, stop) => served,
            () = control => Ok(()),
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome.context("the web page failed")
}

/// The part of the agent that a refused reload degrades, until one is taken.
const CONFIGURATION: &str = "configuration";

/// Ends with SIGTERM or SIGINT; takes a new configuration with each SIGHUP.
async fn watch_signals(args: &Args, config: &Config, reloads: &Reloads<'_>, shared: &Shared) {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        tracing::error!("cannot watch for signals");
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            _ = hangup.recv() => {
                tell_reload(reload(args, config).and_then(|new| reloads.take(new)), shared);
            }
        }
    }
}

/// A refused one is told until the next is taken.
fn tell_reload(taken: Result<()>, shared: &Shared) {
    match taken {
        Ok(()) => {
            shared.restore(CONFIGURATION);
            tracing::info!("configuration re-read");
        }
        Err(error) => {
            tracing::error!("the configuration stays as it was: {error:#}");
            let because = format!("the last reload was refused, that before is in effect: {error:#}");
            shared.degrade(CONFIGURATION, because);
        }
    }
}

/// What takes a new configuration while the agent runs.
struct Reloads<'a> {
    discovery: &'a Discovery,
    keys: &'a KeyRing,
}

impl Reloads<'_> {
    /// The keys first: where they are wrong, everything stays as it was.
    fn take(&self, new: Config) -> Result<()> {
        let keys = Keys::of(&new.heartbeat)?;
        self.discovery.reload(new)?;
        self.keys.replace(keys);
        Ok(())
    }
}

/// The new configuration, where it can be taken without a restart.
fn reload(args: &Args, running: &Config) -> Result<Config> {
    let new = Config::load(&args.config)?;
    let fixed = [
        ("host", new.host == running.host),
        ("labels", new.labels == running.labels),
        ("heartbeat.listen", new.heartbeat.listen == running.heartbeat.listen),
        ("http", new.http == running.http),
        ("otlp", new.otlp == running.otlp),
        ("recorder", new.recorder == running.recorder),
        ("control", new.control == running.control),
        ("store", new.store == running.store),
        ("peers (from none)", !new.exchanges_heartbeats() || running.exchanges_heartbeats()),
    ];
    let changed: Vec<&str> = fixed.iter().filter(|(_, same)| !same).map(|(key, _)| *key).collect();
    if !changed.is_empty() {
        bail!("{} can only change with a restart of the agent", changed.join(", "));
    }
    Ok(new)
}
