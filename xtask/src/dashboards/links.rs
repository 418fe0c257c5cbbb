//! Where a click leads: other dashboards, and traces.

use serde_json::{Value, json};

use super::description::{Common, Kind, Link, Traces};

/// What stays as it is in an address: Grafana puts the values there.
const VARIABLE: [&str; 2] = ["${", "}"];

/// The links of a field that one of the description makes.
pub(super) fn links(kind: Kind, to: &Link, common: &Common) -> Vec<Value> {
    let link = |title: String, url: String, apart: bool| json!({ "title": title, "url": url, "targetBlank": apart });
    match to {
        Link::Host { host } => {
            let host = reference(kind, host);
            vec![link(format!("Host {host}"), dashboard("lacuna-host", &[("host", &host)]), false)]
        }
        Link::Path { host, peer } => {
            let (host, peer) = (reference(kind, host), reference(kind, peer));
            let url = dashboard("lacuna-path", &[("host", &host), ("peer", &peer)]);
            vec![link(format!("Path {host} - {peer}"), url, false)]
        }
        Link::Traces { host } => {
            let host = reference(kind, host);
            let title = |of: Traces| format!("Traces of incidents of {host}, in {}", of.plugin());
            common.traces.iter().map(|of| link(title(*of), traces(&host, *of), true)).collect()
        }
    }
}

/// The value of a label where the click was.
fn reference(kind: Kind, label: &str) -> String {
    match (kind, label) {
        (Kind::Matrix, "column") => "${__field.name}".into(),
        (Kind::Matrix, _) => "${__data.fields[0]}".into(),
        (Kind::Table, label) => format!("${{__data.fields.{label}}}"),
        (_, label) => format!("${{__field.labels.{label}}}"),
    }
}

/// For the same data source, job and time.
fn dashboard(uid: &str, variables: &[(&str, &str)]) -> String {
    let own: String = variables.iter().map(|(name, value)| format!("&var-{name}={value}")).collect();
    format!("/d/{uid}/{uid}?${{datasource:queryparam}}&${{job:queryparam}}{own}&${{__url_time_range}}")
}

/// Explore, with what the spans of incidents say of their subject.
fn traces(host: &str, of: Traces) -> String {
    let source = format!("${{{}}}", of.plugin());
    let mut query = match of {
        Traces::Tempo => {
            let query = format!("{{ resource.service.name = \"lacuna\" && span.lacuna.subject.host = \"{host}\" }}");
            json!({ "queryType": "traceql", "query": query, "limit": 20 })
        }
        Traces::Jaeger => {
            json!({ "queryType": "search", "service": "lacuna", "tags": format!("lacuna.subject.host=\"{host}\"") })
        }
    };
    query["refId"] = json!("A");
    query["datasource"] = json!({ "type": of.plugin(), "uid": source });
    let range = json!({ "from": "${__from}", "to": "${__to}" });
    let panes = json!({ "traces": { "datasource": source, "queries": [query], "range": range } });
    format!("/explore?schemaVersion=1&orgId=1&panes={}", encoded(&panes.to_string()))
}

/// Percent-encoded but for Grafana's variables.
fn encoded(text: &str) -> String {
    let [open, close] = VARIABLE;
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once(open) {
        done += &percent(before);
        let (variable, after) = from.split_once(close).unwrap_or((from, ""));
        done += &format!("{open}{variable}{close}");
        rest = after;
    }
    done + &percent(rest)
}

/// RFC 3986, 2.1: all but what is unreserved.
fn percent(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_from_where_the_click_was() {
        let cases = [
            (Kind::Matrix, "row", "${__data.fields[0]}"),
            (Kind::Matrix, "column", "${__field.name}"),
            (Kind::Table, "host", "${__data.fields.host}"),
            (Kind::Timeseries, "instance", "${__field.labels.instance}"),
        ];
        for (kind, label, expected) in cases {
            assert_eq!(reference(kind, label), expected);
        }
    }

    #[test]
    fn variables_stay_as_they_are_and_the_rest_is_encoded() {
        assert_eq!(
            encoded(r#"{"a":"${traces}","b":"${x.y}"}"#),
            "%7B%22a%22%3A%22${traces}%22%2C%22b%22%3A%22${x.y}%22%7D"
        );
        assert_eq!(encoded("a b"), "a%20b");
        assert_eq!(encoded("${open"), "${open}");
    }

    #[test]
    fn traces_are_looked_for_by_subject() {
        let url = traces("${__data.fields.host}", Traces::Jaeger);
        assert!(url.contains("lacuna.subject.host%3D%5C%22${__data.fields.host}%5C%22"), "{url}");
        let url = traces("${__data.fields.host}", Traces::Tempo);
        assert!(url.contains("%22uid%22%3A%22${tempo}%22"), "{url}");
        assert!(url.contains("span.lacuna.subject.host%20%3D%20%5C%22${__data.fields.host}%5C%22"), "{url}");
    }
}
