//! The thread that looks at this host's interfaces and opens and closes the sockets on them. Closing waits for every CPU
//! (`packet_release` of Linux), also for one that is locked up, so nobody else does it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use lacuna_core::evidence::LinkAddress;
use lacuna_core::time::Nanos;
use socket2::SockFilter;

use super::plan::{Plan, Port, Wanted, plan};
use super::socket::LinkSocket;
use super::{filter, interfaces};
use crate::clock;

/// EtherTypes.
pub(super) const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// An interface that is asked on, with the sockets that it takes.
#[derive(Debug)]
pub(super) struct OpenPort {
    pub(super) plan: Port,
    pub(super) arp: Option<Arc<LinkSocket>>,
    pub(super) ndp: Option<Arc<LinkSocket>>,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct View {
    /// When it began.
    pub(super) looked_at: Nanos,
    pub(super) ports: Vec<OpenPort>,
    pub(super) own: BTreeSet<LinkAddress>,
    pub(super) held: Vec<(IpAddr, LinkAddress)>,
    pub(super) notes: Vec<String>,
}

impl View {
    /// Nothing but a reason.
    pub(super) fn without(note: String) -> Self {
        Self { notes: vec![note], ..Self::default() }
    }
}

/// The thread; it ends with this value.
#[derive(Debug)]
pub(super) struct Worker {
    ask: SyncSender<Arc<Wanted>>,
    found: Receiver<View>,
}

impl Worker {
    pub(super) fn start() -> io::Result<Self> {
        let (ask, asked) = sync_channel::<Arc<Wanted>>(1);
        let (tell, found) = sync_channel(1);
        thread::Builder::new().name("lacuna-links".into()).spawn(move || {
            let mut sockets = Sockets::default();
            for wanted in asked {
                if tell.send(sockets.look(&wanted)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { ask, found })
    }

    /// Asks for a look; where the thread still looks, it is not asked again.
    pub(super) fn ask(&self, wanted: &Arc<Wanted>) {
        let _ = self.ask.try_send(Arc::clone(wanted));
    }

    /// The last look, where there is a new one.
    pub(super) fn found(&self) -> Option<View> {
        self.found.try_iter().last()
    }
}

/// A socket with the addresses that its filter lets through.
#[derive(Debug)]
struct Open {
    socket: Arc<LinkSocket>,
    addresses: Vec<IpAddr>,
}

/// The sockets that are open, by index of the interface and EtherType.
#[derive(Debug, Default)]
struct Sockets {
    open: BTreeMap<(u32, u16), Open>,
    /// Not needed any more, and still held by the last view: what is closed is closed here.
    retired: Vec<Arc<LinkSocket>>,
}

impl Sockets {
    fn look(&mut self, wanted: &Wanted) -> View {
        let looked_at = clock::boot();
        self.retired.retain(|socket| Arc::strong_count(socket) > 1);
        let Plan { ports, own, held, mut notes } = match interfaces::read() {
            Ok(all) => plan(&all, wanted),
            Err(error) => Plan { notes: vec![format!("the interfaces cannot be read: {error}")], ..Plan::default() },
        };
        self.retire(&ports);
        let ports = ports.into_iter().map(|port| self.open(port, &mut notes)).collect();
        View { looked_at, ports, own, held, notes }
    }

    /// Lets go of what is not in the plan any more.
    fn retire(&mut self, ports: &[Port]) {
        let needed = |(index, ethertype): &(u32, u16)| {
            let port = ports.iter().find(|port| port.interface.index == *index);
            port.is_some_and(|port| !addresses(port, *ethertype).is_empty())
        };
        let gone: Vec<_> = self.open.keys().filter(|key| !needed(key)).copied().collect();
        self.retired.extend(gone.iter().filter_map(|key| self.open.remove(key)).map(|open| open.socket));
    }

    fn open(&mut self, port: Port, notes: &mut Vec<String>) -> OpenPort {
        let mut socket = |ethertype| {
            let addresses = addresses(&port, ethertype);
            if addresses.is_empty() {
                return None;
            }
            let name = &port.interface.name;
            let opened = self.socket(port.interface.index, ethertype, addresses);
            opened.map_err(|error| notes.push(format!("{name} is not watched at link level: {}", why(&error)))).ok()
        };
        let (arp, ndp) = (socket(ARP), socket(IPV6));
        OpenPort { plan: port, arp, ndp }
    }

    fn socket(&mut self, index: u32, ethertype: u16, addresses: Vec<IpAddr>) -> io::Result<Arc<LinkSocket>> {
        let filter = program(ethertype, &addresses);
        if let Some(open) = self.open.get_mut(&(index, ethertype)) {
            if open.addresses != addresses {
                open.socket.set_filter(&filter)?;
                open.addresses = addresses;
            }
            return Ok(Arc::clone(&open.socket));
        }
        let socket = Arc::new(LinkSocket::open(index, ethertype, &filter)?);
        self.open.insert((index, ethertype), Open { socket: Arc::clone(&socket), addresses });
        Ok(socket)
    }
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{error}; run as root or give CAP_NET_RAW"),
        _ => error.to_string(),
    }
}

/// What is asked for on that interface with that protocol.
fn addresses(port: &Port, ethertype: u16) -> Vec<IpAddr> {
    let all = port.targets.iter().map(|target| target.address);
    all.filter(|address| address.is_ipv4() == (ethertype == ARP)).collect()
}

fn program(ethertype: u16, addresses: &[IpAddr]) -> Vec<SockFilter> {
    let v4 = addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    let v6 = addresses.iter().filter_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    });
    match ethertype {
        ARP => filter::arp(&v4.collect::<Vec<Ipv4Addr>>()),
        _ => filter::advertisements(&v6.collect::<Vec<Ipv6Addr>>()),
    }
}
