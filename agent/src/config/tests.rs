use super::*;

/// Parses `text` and compares all that is said about it, a line each.
fn check(text: &str, expected: &str) {
    let said = match Config::parse(text, "c") {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(said, expected.trim(), "for:\n{text}");
}

const PEERS: &str = "host = \"db1\"\n[heartbeat]\ninsecure = true\n";

#[test]
fn an_empty_file_is_the_defaults() {
    let config = Config::parse("host = \"db1\"", "c").unwrap();
    assert_eq!(config, Config::without_file("db1"));
    assert_eq!(config.thresholds.gap, Duration::from_millis(300));
    assert_eq!(config.store.max_size, 512 << 20);
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:9480");
}

#[test]
fn the_contracts_example_says_what_it_says() {
    let text = r#"
host = "db1"
labels = { hypervisor = "kvm3", role = "database" }
[heartbeat]
listen = "10.77.0.11:9479"
interval = "50ms"
key_file = "/etc/lacuna/cluster.key"
insecure = true
[[peers]]
name = "lb1"
addr = "10.77.0.12:9479"
[thresholds]
cpu_stall = "400ms"
saturation = "20s"
[watch]
interfaces = ["eth0"]
vips = ["10.77.0.100"]
[store]
path = "/srv/lacuna"
retention = "7d"
max_size = "64MiB"
[http]
listen = "127.0.0.1:9999"
[control]
socket = "/run/lacuna/db1.sock"
[otlp]
endpoint = "http://127.0.0.1:4317"
"#;
    let config = Config::parse(text, "c").unwrap();
    assert_eq!(config.labels["hypervisor"], "kvm3");
    assert_eq!(config.peers.len(), 1);
    assert_eq!(config.thresholds.gap, Duration::from_millis(150), "three intervals");
    assert_eq!(config.store.retention, Duration::from_secs(7 * 86_400));
    assert_eq!(config.without_effect().len(), 1);
    let otlp = config.otlp.as_ref().unwrap();
    assert_eq!((otlp.protocol, otlp.spool), (OtlpProtocol::Grpc, 16 << 20));
    assert_eq!(config.control.socket, Path::new("/run/lacuna/db1.sock"));
    assert_eq!(config.watch.interfaces, ["eth0"]);
    let settings = config.settings(vec!["gateway".into()]);
    assert_eq!(settings.peers, ["lb1"]);
    assert_eq!(settings.anchors, ["gateway"]);
    assert_eq!(settings.vips, ["10.77.0.100".parse::<IpAddr>().unwrap()]);
    assert_eq!(settings.saturation, Duration::from_secs(20));
}

#[test]
fn every_mistake_is_named_with_its_line_and_what_is_allowed() {
    check(
        "hots = \"db1\"",
        "c:1: hots: is not a key; allowed: host, labels, heartbeat, peers, thresholds, watch, store, recorder, http, otlp, control, discovery",
    );
    check(
        "[heartbeat]\nintervall = \"1s\"",
        "c:2: heartbeat.intervall: is not a key; allowed: listen, interval, key_file, insecure",
    );
    check(
        "[heartbeat]\n\ninterval = \"100\"",
        "c:3: heartbeat.interval: \"100\" is not a duration (time unit needed, for example 100sec or 100ms); allowed: a number and ns, us, ms, s, m, h or d, such as \"300ms\"; from 10ms to 10s",
    );
    check(
        "[heartbeat]\ninterval = 100",
        "c:2: heartbeat.interval: is of type integer; allowed: a number and ns, us, ms, s, m, h or d, such as \"300ms\"; from 10ms to 10s",
    );
    check(
        "[heartbeat]\ninterval = \"9ms\"",
        "c:2: heartbeat.interval: \"9ms\" is out of range; allowed: a number and ns, us, ms, s, m, h or d, such as \"300ms\"; from 10ms to 10s",
    );
    check(
        "[thresholds]\ngap = \"199ms\"",
        "c:2: thresholds.gap: 199ms is below two intervals; allowed: at least 200ms with heartbeat.interval = 100ms",
    );
    check(
        "[store]\nmax_size = \"512\"",
        "c:2: store.max_size: \"512\" has no unit; allowed: a number and B, KiB, MiB, GiB, KB, MB or GB; from 1MiB to 1024GiB",
    );
    check(
        "[recorder]\nsize = \"2GiB\"",
        "c:2: recorder.size: \"2GiB\" is out of range; allowed: a number and B, KiB, MiB, GiB, KB, MB or GB; from 1MiB to 1GiB",
    );
    check(
        "[http]\nlisten = \"localhost:9480\"",
        "c:2: http.listen: \"localhost:9480\" is not an address with a port (invalid socket address syntax); allowed: an IP address and a port from 1 to 65535, such as \"10.77.0.11:9479\"",
    );
    check(
        "[watch]\nvips = [\"10.77.0.100/24\", \"0.0.0.0\"]\ninterfaces = \"eth0\"",
        "c:2: watch.vips: \"0.0.0.0\" cannot have one owner in a network; allowed: IP addresses, such as \"10.77.0.100\"\n\
         c:2: watch.vips: \"10.77.0.100/24\" is not an IP address (invalid IP address syntax); allowed: IP addresses, such as \"10.77.0.100\"\n\
         c:3: watch.interfaces: is of type string; allowed: a list: [names of network interfaces, at most 15 bytes, no '/' or blank]",
    );
    check(
        "labels = { role = \"\", rack = 7 }",
        "c:1: labels.rack: is of type integer; allowed: 1 to 128 printable characters\n\
         c:1: labels.role: \"\" is not a label; allowed: 1 to 128 printable characters",
    );
    check(
        "[control]\nsocket = \"run/control.sock\"",
        "c:2: control.socket: \"run/control.sock\" is not an absolute path; allowed: an absolute path of at most 100 bytes",
    );
    check(
        "[otlp]\nendpoint = \"127.0.0.1:4317\"",
        "c:2: otlp.endpoint: \"127.0.0.1:4317\" is not an address; allowed: an address that begins with http://, such as \"http://127.0.0.1:4317\"",
    );
    check(
        "[otlp]\nendpoint = \"https://127.0.0.1:4317\"\nprotocol = \"json\"\nspool = \"5\"",
        "c:2: otlp.endpoint: \"https://127.0.0.1:4317\" wants TLS, which is not there: a collector on this host can add it; allowed: an address that begins with http://, such as \"http://127.0.0.1:4317\"\n\
         c:3: otlp.protocol: \"json\" is not a protocol; allowed: \"grpc\" or \"http\"\n\
         c:4: otlp.spool: \"5\" has no unit; allowed: a number and B, KiB, MiB, GiB, KB, MB or GB; from 1MiB to 1GiB",
    );
    check(
        "[otlp]\nprotocol = \"grpc\"",
        "c:1: otlp.endpoint: is missing; allowed: an address that begins with http://, such as \"http://127.0.0.1:4317\"",
    );
    check("heartbeat = 1", "c:1: heartbeat: is of type integer; allowed: a table: [heartbeat]");
}

#[test]
fn how_spans_are_sent_follows_from_the_endpoint_where_it_is_not_said() {
    for (endpoint, protocol, url) in [
        ("http://otel:4317", OtlpProtocol::Grpc, "http://otel:4317/v1/traces"),
        ("http://otel:4317/", OtlpProtocol::Grpc, "http://otel:4317/v1/traces"),
        ("http://otel:4318", OtlpProtocol::Http, "http://otel:4318/v1/traces"),
        ("http://[::1]:4318/", OtlpProtocol::Http, "http://[::1]:4318/v1/traces"),
        ("http://otel/tempo/v1/traces", OtlpProtocol::Http, "http://otel/tempo/v1/traces"),
    ] {
        let config = Config::parse(&format!("[otlp]\nendpoint = \"{endpoint}\""), "c").unwrap();
        let otlp = config.otlp.unwrap();
        assert_eq!((otlp.protocol, otlp.traces_url().as_str()), (protocol, url));
    }
    let said = Config::parse("[otlp]\nendpoint = \"http://otel:4317\"\nprotocol = \"http\"", "c").unwrap();
    assert_eq!(said.otlp.unwrap().protocol, OtlpProtocol::Http);
}

#[test]
fn what_is_no_toml_is_named_with_its_line() {
    let error = Config::parse("host = \"db1\"\n[store\n", "c").unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("c:2: not TOML: "), "{said}");
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let text = "host = \"a b\"\n[heartbeat]\ninterval = \"1 fortnight\"\ninsecure = 1\n[[peers]]\naddr = \"nowhere\"\n[stor]\n";
    let Err(ConfigError::Wrong { problems, .. }) = Config::parse(text, "c") else {
        panic!("accepted");
    };
    let keys: Vec<_> = problems.iter().map(|p| (p.line, p.key.as_str())).collect();
    let expected = [
        (1, "host"),
        (3, "heartbeat.interval"),
        (4, "heartbeat.insecure"),
        (5, "peers.name"),
        (6, "peers.addr"),
        (7, "stor"),
    ];
    assert_eq!(keys, expected);
}

#[test]
fn peers_are_unique_and_not_this_host() {
    let text = format!(
        "{PEERS}[[peers]]\nname = \"lb1\"\naddr = \"10.77.0.12:9479\"\n\
         [[peers]]\nname = \"lb1\"\naddr = \"10.77.0.12:9479\"\n\
         [[peers]]\nname = \"db1\"\naddr = \"[fd00::1]:9479\"\n\
         [[peers]]\nname = \"lb2\"\naddr = \"0.0.0.0:9479\"\n"
    );
    check(
        &text,
        "c:7: peers.addr: \"10.77.0.12:9479\" is also the peer of line 4; allowed: an address for each peer\n\
         c:7: peers.name: \"lb1\" is also the peer of line 4; allowed: a name for each peer\n\
         c:10: peers.addr: \"[fd00::1]:9479\" cannot be reached from heartbeat.listen = \"0.0.0.0:9479\"; allowed: both IPv4 or both IPv6\n\
         c:10: peers.name: \"db1\" is this host itself; allowed: the other hosts only\n\
         c:15: peers.addr: \"0.0.0.0:9479\" is not the address of one host; allowed: an IP address and a port from 1 to 65535, such as \"10.77.0.11:9479\"",
    );
}

#[test]
fn virtual_addresses_are_unique_and_bounded() {
    check(
        "[watch]\nvips = [\"10.77.0.100\", \"fd00::1\", \"fd00:0::1\"]",
        "c:2: watch.vips: \"fd00::1\" is there twice; allowed: each address once",
    );
    let many = |count: usize| {
        let vips: Vec<String> = (0..count).map(|i| format!("\"10.77.1.{i}\"")).collect();
        format!("host = \"db1\"\n[watch]\nvips = [{}]", vips.join(", "))
    };
    check(&many(MAX_VIPS), "ok");
    check(&many(MAX_VIPS + 1), "c:3: watch.vips: 65 are too many; allowed: at most 64");
}

#[test]
fn peers_need_a_word_on_authentication() {
    let peer = "[[peers]]\nname = \"lb1\"\naddr = \"10.77.0.12:9479\"\n";
    check(
        &format!("host = \"db1\"\n{peer}"),
        "c:2: heartbeat.key_file: is not given although there are peers: forged packets could not be told from theirs; allowed: key_file = \"FILE\" in [heartbeat], with a line by `head -c 32 /dev/urandom | base64`; or insecure = true there, on a network whose hosts are trusted",
    );
    check(&format!("host = \"db1\"\n[heartbeat]\ninsecure = false\nkey_file = \"/etc/k\"\n{peer}"), "ok");
    check(&format!("{PEERS}{peer}"), "ok");
}

#[test]
fn the_number_of_peers_is_bounded() {
    let peers = |count: usize| {
        let peer = |i: usize| {
            let addr = format!("10.77.{}.{}:9479", i / 250, 1 + i % 250);
            format!("[[peers]]\nname = \"p{i}\"\naddr = \"{addr}\"\n")
        };
        format!("{PEERS}{}", (0..count).map(peer).collect::<String>())
    };
    check(&peers(MAX_PEERS), "ok");
    check(&peers(MAX_PEERS + 1), "c:3076: peers: 1025 are too many; allowed: at most 1024");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nonexistent/lacuna.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nonexistent/lacuna.toml: cannot read the configuration: No such file or directory (os error 2)"
    );
}

#[test]
fn a_file_of_many_megabytes_is_not_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(MAX_FILE + 1).unwrap();
    let error = Config::load(file.path()).unwrap_err();
    assert!(matches!(error, ConfigError::TooLong { .. }), "{error}");
}

#[test]
fn discovery_has_defaults_for_all_but_the_file_and_the_name() {
    let text =
        format!("{PEERS}[[discovery.file]]\npath = \"/etc/peers.json\"\n[[discovery.dns]]\nname = \"db.example\"\n");
    let config = Config::parse(&text, "c").unwrap();
    assert!(config.peers.is_empty() && config.exchanges_heartbeats());
    assert_eq!(config.discovery.files, [PeerFile { path: "/etc/peers.json".into() }]);
    let expected = PeerName {
        name: "db.example".into(),
        record: RecordType::A,
        port: HEARTBEAT_PORT,
        interval: Duration::from_secs(30),
        resolver: None,
    };
    assert_eq!(config.discovery.names, [expected]);
    let over_six = "[heartbeat]\ninsecure = true\nlisten = \"[::]:9479\"\n[[discovery.dns]]\nname = \"db.example.\"\n";
    assert_eq!(Config::parse(over_six, "c").unwrap().discovery.names[0].record, RecordType::Aaaa);
}

#[test]
fn mistakes_in_discovery_are_named_with_their_lines() {
    let with = |rest: &str| format!("{PEERS}{rest}");
    check(
        &with("[[discovery.file]]\npaht = \"/etc/peers.json\"\n"),
        "c:4: discovery.file.path: is missing; allowed: an absolute path\n\
         c:5: discovery.file.paht: is not a key; allowed: path",
    );
    check(
        &with("[discovery]\nfile = \"/etc/peers.json\"\nhttp = 1\n"),
        "c:5: discovery.file: is of type string; allowed: tables: [[discovery.file]]\n\
         c:6: discovery.http: is not a key; allowed: file, dns",
    );
    check(
        &with("[[discovery.dns]]\nname = \"a..b\"\ntype = \"mx\"\nport = 0\ninterval = \"1s\"\nresolver = \"ns1\"\n"),
        "c:5: discovery.dns.name: \"a..b\" is not a domain name; allowed: a domain name, such as \"lacuna.example.com\" or \"_lacuna._udp.example.com\"\n\
         c:6: discovery.dns.type: \"mx\" is not a type of records; allowed: \"a\", \"aaaa\", \"srv\"\n\
         c:7: discovery.dns.port: 0 is not a port; allowed: a number from 1 to 65535\n\
         c:8: discovery.dns.interval: \"1s\" is out of range; allowed: a number and ns, us, ms, s, m, h or d, such as \"300ms\"; from 5s to 5m\n\
         c:9: discovery.dns.resolver: \"ns1\" is not an address with a port (invalid socket address syntax); allowed: an IP address and a port from 1 to 65535, such as \"10.77.0.11:9479\"",
    );
    check(
        &with(
            "[[discovery.dns]]\nname = \"db.example\"\ntype = \"srv\"\nport = 9479\n[[discovery.dns]]\nname = \"x\"\ntype = \"aaaa\"\n",
        ),
        "c:7: discovery.dns.port: has no effect with type = \"srv\": each record has a port of its own; allowed: with \"a\" and \"aaaa\" only\n\
         c:10: discovery.dns.type: \"aaaa\" cannot be reached from heartbeat.listen = \"0.0.0.0:9479\"; allowed: both IPv4 (\"a\") or both IPv6 (\"aaaa\"), or \"srv\"",
    );
}

#[test]
fn sources_are_unique_bounded_and_need_a_word_on_authentication() {
    let file = |i: usize| format!("[[discovery.file]]\npath = \"/etc/{i}.json\"\n");
    let files = |count: usize| format!("{PEERS}{}", (0..count).map(file).collect::<String>());
    check(&files(16), "ok");
    check(&files(17), "c:36: discovery.file: 17 are too many; allowed: at most 16");
    check(
        &format!("{}{}", files(1), file(0)),
        "c:6: discovery.file: \"/etc/0.json\" is also in line 4; allowed: each one once",
    );
    check(
        &format!("host = \"db1\"\n{}", file(0)),
        "c:2: heartbeat.key_file: is not given although there are peers: forged packets could not be told from theirs; allowed: key_file = \"FILE\" in [heartbeat], with a line by `head -c 32 /dev/urandom | base64`; or insecure = true there, on a network whose hosts are trusted",
    );
}

/// What is installed: as it is, and with everything that is commented out.
const EXAMPLE: &str = include_str!("../../../packaging/lacuna.toml");

/// Prose has a blank after its `#`.
fn with_all_keys() -> String {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|first: char| first == '[' || first.is_ascii_lowercase()) => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    EXAMPLE.lines().map(uncommented).collect()
}

#[test]
fn what_the_installed_file_comments_out_are_the_defaults() {
    let (plain, all) = (Config::parse(EXAMPLE, "c").unwrap(), Config::parse(&with_all_keys(), "c").unwrap());
    let examples = Config {
        host: plain.host.clone(),
        labels: plain.labels.clone(),
        otlp: plain.otlp.clone(),
        discovery: plain.discovery.clone(),
        ..all.clone()
    };
    assert_eq!(examples, plain);
    let otlp = all.otlp.unwrap();
    let alone = format!("[otlp]\nendpoint = \"{}\"\n", otlp.endpoint);
    assert_eq!(Some(otlp), Config::parse(&alone, "c").unwrap().otlp);
    let [name] = all.discovery.names.try_into().unwrap();
    let alone = format!("{PEERS}[[discovery.dns]]\nname = \"{}\"\n", name.name);
    let [bare] = Config::parse(&alone, "c").unwrap().discovery.names.try_into().unwrap();
    assert_eq!(PeerName { resolver: None, ..name }, bare);
}

#[test]
fn the_installed_file_names_every_key() {
    let all = with_all_keys();
    let headers = all.lines().enumerate().filter(|(_, line)| line.starts_with('[')).map(|(place, _)| place + 1);
    for place in std::iter::once(0).chain(headers) {
        // What is said of a key that is none has all that are.
        let mut lines: Vec<&str> = all.lines().collect();
        lines.insert(place, "nothing = 1");
        let error = Config::parse(&lines.join("\n"), "c").unwrap_err().to_string();
        let (_, allowed) = error.rsplit_once("allowed: ").unwrap();
        for key in allowed.split(", ") {
            let is_header = |line: &str| line.starts_with('[');
            let mut section = all.lines().skip(place).take_while(|line| !is_header(line));
            let mut sections = all.lines().filter(|line| is_header(line));
            let named =
                section.any(|line| line.starts_with(&format!("{key} ="))) || sections.any(|line| line.contains(key));
            assert!(named, "{key} is missing: {error}");
        }
    }
}
