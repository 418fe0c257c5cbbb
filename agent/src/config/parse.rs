//! From text to a [`Config`]: which keys there are, what each may hold, what it is when it is absent.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use toml::de::DeTable;

use super::check;
use super::discovery::discovery;
use super::table::{At, Findings, Rule, Section};
use super::{
    Config, Control, Heartbeat, Http, Otlp, OtlpProtocol, Peer, Problem, Recorder, Store, Thresholds, Watch, host_name,
};

const NAME: &str = "1 to 64 letters, digits, '.', '_' and '-'";
pub(super) const ADDRESS: &str = "an IP address and a port from 1 to 65535, such as \"10.77.0.11:9479\"";
const LABEL: &str = "1 to 128 printable characters";
pub(super) const PATH: &str = "an absolute path";
const SIZE: &str = "a number and B, KiB, MiB, GiB, KB, MB or GB; from 1MiB to 1024GiB";
/// What waits for a collector may take so much.
const SPOOL: u64 = 16 * 1024 * 1024;
const RECORDING_SIZE: &str = "a number and B, KiB, MiB, GiB, KB, MB or GB; from 1MiB to 1GiB";
/// `sun_path` of the kernel (`unix(7)`) less what the agent appends while it makes the socket.
const MAX_SOCKET_PATH: usize = 100;
/// `IFNAMSIZ` of the kernel less the terminating zero.
const MAX_INTERFACE_NAME: usize = 15;

pub(super) fn config(text: &str) -> Result<Config, Vec<Problem>> {
    let findings = Findings::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let line = findings.line(error.span().map_or(0, |span| span.start));
            findings.add(line, "", format!("not TOML: {}", error.message()), "");
        }
        return Err(findings.into_sorted());
    }
    let config = root(Section::root(document.get_ref(), &findings), &findings);
    let problems = findings.into_sorted();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn root(mut root: Section<'_>, findings: &Findings) -> Config {
    let host = root.text("host", &rule(&name, NAME)).map_or_else(host_name, |host| host.value);
    let labels = root.pairs("labels", &rule(&label, LABEL));
    let (heartbeat, insecure) = heartbeat(root.section("heartbeat"));
    let peers = peers(root.sections("peers"));
    let thresholds = thresholds(root.section("thresholds"), heartbeat.interval, findings);
    let (watch, store) = (watch(root.section("watch"), findings), store(root.section("store")));
    let recorder = recorder(root.section("recorder"));
    let (http, otlp) = (http(root.section("http")), otlp(root.section("otlp")));
    let control = control(root.section("control"));
    let (discovery, source) = discovery(root.section("discovery"), heartbeat.listen, findings);
    check::peers(&host, &heartbeat, insecure, source, &peers, findings);
    let config = Config {
        host,
        labels: labels.into_iter().collect(),
        heartbeat,
        peers: peers.into_iter().map(|peer| peer.value).collect(),
        thresholds,
        watch,
        store,
        recorder,
        http,
        control,
        otlp,
        discovery,
    };
    root.finish();
    config
}

/// The section, and the line of `insecure` where it is given.
fn heartbeat(mut section: Section<'_>) -> (Heartbeat, Option<usize>) {
    let default = Heartbeat::default();
    let interval = (Duration::from_millis(10), Duration::from_secs(10));
    let listen = section.text("listen", &rule(&address, ADDRESS));
    let interval = duration(&mut section, "interval", interval);
    let key_file = section.text("key_file", &rule(&absolute, PATH));
    let insecure = section.boolean("insecure");
    section.finish();
    let line = insecure.as_ref().map(|insecure| insecure.line);
    let heartbeat = Heartbeat {
        listen: or(listen, default.listen),
        interval: or(interval, default.interval),
        key_file: key_file.map(|path| path.value),
        insecure: or(insecure, default.insecure),
    };
    (heartbeat, line)
}

fn peers(sections: Vec<Section<'_>>) -> Vec<At<Peer>> {
    sections.into_iter().filter_map(peer).collect()
}

fn peer(mut section: Section<'_>) -> Option<At<Peer>> {
    let line = section.line;
    let name = section.required("name", &rule(&name, NAME));
    let addr = section.required("addr", &rule(&peer_address, ADDRESS));
    section.finish();
    let value = Peer { name: name?.value, addr: addr?.value };
    Some(At { line, value })
}

fn thresholds(mut section: Section<'_>, interval: Duration, findings: &Findings) -> Thresholds {
    let default = Thresholds::for_interval(interval);
    let hour = Duration::from_secs(3600);
    let gap = duration(&mut section, "gap", (Duration::from_millis(20), hour));
    let cpu_stall = duration(&mut section, "cpu_stall", (Duration::from_millis(10), hour));
    let saturation = duration(&mut section, "saturation", (Duration::from_secs(1), hour * 24));
    section.finish();
    if let Some(gap) = &gap {
        check::gap(gap, interval, findings);
    }
    Thresholds {
        gap: or(gap, default.gap),
        cpu_stall: or(cpu_stall, default.cpu_stall),
        saturation: or(saturation, default.saturation),
    }
}

fn watch(mut section: Section<'_>, findings: &Findings) -> Watch {
    let interfaces = section
        .texts("interfaces", &rule(&interface, "names of network interfaces, at most 15 bytes, no '/' or blank"));
    let vips = section.texts("vips", &rule(&vip, "IP addresses, such as \"10.77.0.100\""));
    section.finish();
    check::vips(&vips, findings);
    Watch {
        interfaces: interfaces.into_iter().map(|name| name.value).collect(),
        vips: vips.into_iter().map(|vip| vip.value).collect(),
    }
}

fn store(mut section: Section<'_>) -> Store {
    let default = Store::default();
    let hour = Duration::from_secs(3600);
    let path = section.text("path", &rule(&absolute, PATH));
    let retention = duration(&mut section, "retention", (hour, hour * 24 * 3650));
    let max_size = section.text("max_size", &rule(&size, SIZE));
    section.finish();
    Store {
        path: or(path, default.path),
        retention: or(retention, default.retention),
        max_size: or(max_size, default.max_size),
    }
}

fn recorder(mut section: Section<'_>) -> Recorder {
    let size = section.text("size", &rule(&recording_size, RECORDING_SIZE));
    section.finish();
    Recorder { size: or(size, Recorder::default().size) }
}

fn http(mut section: Section<'_>) -> Http {
    let default = Http::default();
    let listen = section.text("listen", &rule(&address, ADDRESS));
    let recordings = section.boolean("recordings");
    section.finish();
    Http { listen: or(listen, default.listen), recordings: or(recordings, default.recordings) }
}

fn control(mut section: Section<'_>) -> Control {
    let socket = section.text("socket", &rule(&socket, "an absolute path of at most 100 bytes"));
    section.finish();
    Control { socket: or(socket, Control::default().socket) }
}

fn otlp(mut section: Section<'_>) -> Option<Otlp> {
    if !section.is_given() {
        return None;
    }
    let allowed = "an address that begins with http://, such as \"http://127.0.0.1:4317\"";
    let endpoint = section.required("endpoint", &rule(&url, allowed));
    let protocol = section.text("protocol", &rule(&protocol, "\"grpc\" or \"http\""));
    let spool = section.text("spool", &rule(&recording_size, RECORDING_SIZE));
    section.finish();
    let endpoint = endpoint?.value;
    let protocol = or(protocol, Otlp::usual_protocol(&endpoint));
    Some(Otlp { endpoint, protocol, spool: or(spool, SPOOL) })
}

pub(super) fn rule<'r, T>(parse: &'r dyn Fn(&str) -> Result<T, String>, allowed: &'r str) -> Rule<'r, T> {
    Rule { parse, allowed }
}

pub(super) fn or<T>(given: Option<At<T>>, default: T) -> T {
    given.map_or(default, |given| given.value)
}

fn quoted<T: FromStr>(text: &str, what: &str) -> Result<T, String>
where
    T::Err: Display,
{
    text.parse().map_err(|error| format!("\"{text}\" is not {what} ({error})"))
}

pub(super) fn duration(
    section: &mut Section<'_>,
    key: &'static str,
    (least, most): (Duration, Duration),
) -> Option<At<Duration>> {
    let words = |duration| humantime::format_duration(duration).to_string().replace(' ', "");
    let allowed =
        format!("a number and ns, us, ms, s, m, h or d, such as \"300ms\"; from {} to {}", words(least), words(most));
    let parse = |text: &str| {
        let duration =
            humantime::parse_duration(text).map_err(|error| format!("\"{text}\" is not a duration ({error})"))?;
        if (least..=most).contains(&duration) { Ok(duration) } else { Err(format!("\"{text}\" is out of range")) }
    };
    section.text(key, &rule(&parse, &allowed))
}

/// Of a database.
fn size(text: &str) -> Result<u64, String> {
    bytes(text, ByteSize::gib(1024))
}

/// Of a recording, which has to fit into memory to be given away.
fn recording_size(text: &str) -> Result<u64, String> {
    bytes(text, ByteSize::gib(1))
}

fn bytes(text: &str, most: ByteSize) -> Result<u64, String> {
    if text.ends_with(|last: char| last.is_ascii_digit()) {
        return Err(format!("\"{text}\" has no unit"));
    }
    let ByteSize(bytes) = quoted(text, "a size")?;
    if (ByteSize::mib(1).0..=most.0).contains(&bytes) { Ok(bytes) } else { Err(format!("\"{text}\" is out of range")) }
}

/// A host name: what is safe in a metric's label, a file and a terminal.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{}\" is not a name", text.escape_debug()))
    }
}

fn label(text: &str) -> Result<String, String> {
    let printable = text.chars().all(|c| !c.is_control());
    if printable && (1..=128).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{}\" is not a label", text.escape_debug()))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = quoted(text, "an address with a port")?;
    if address.port() == 0 {
        return Err(format!("\"{text}\" has port 0"));
    }
    if address.ip().is_multicast() {
        return Err(format!("\"{text}\" is a multicast address"));
    }
    Ok(address)
}

pub(super) fn peer_address(text: &str) -> Result<SocketAddr, String> {
    let address = address(text)?;
    if address.ip().is_unspecified() {
        return Err(format!("\"{text}\" is not the address of one host"));
    }
    Ok(address)
}

fn vip(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = quoted(text, "an IP address")?;
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(format!("\"{text}\" cannot have one owner in a network"));
    }
    Ok(address)
}

fn interface(text: &str) -> Result<String, String> {
    let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    if (1..=MAX_INTERFACE_NAME).contains(&text.len()) && !text.contains(bad) {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{}\" is not an interface", text.escape_debug()))
    }
}

pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() && !text.contains('\0') {
        Ok(path)
    } else {
        Err(format!("\"{}\" is not an absolute path", text.escape_debug()))
    }
}

fn socket(text: &str) -> Result<PathBuf, String> {
    if text.len() > MAX_SOCKET_PATH {
        return Err(format!("\"{}\" is too long for a socket", text.escape_debug()));
    }
    absolute(text)
}

fn protocol(text: &str) -> Result<OtlpProtocol, String> {
    match text {
        "grpc" => Ok(OtlpProtocol::Grpc),
        "http" => Ok(OtlpProtocol::Http),
        _ => Err(format!("\"{}\" is not a protocol", text.escape_debug())),
    }
}

fn url(text: &str) -> Result<String, String> {
    if text.starts_with("https://") {
        return Err(format!(
            "\"{}\" wants TLS, which is not there: a collector on this host can add it",
            text.escape_debug()
        ));
    }
    let uri = text.parse::<hyper::Uri>().ok().filter(|uri| uri.scheme_str() == Some("http"));
    match uri.as_ref().and_then(hyper::Uri::host) {
        Some(host) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("\"{}\" is not an address", text.escape_debug())),
    }
}
