//! From the description to the JSON that Grafana imports.

use serde_json::{Value, json};

use super::description::{Annotation, Common, Dashboard, Panel, Variable};
use super::panels;

/// Grafana 10.0 writes this version of its schema, and later ones bring it up by themselves.
const SCHEMA: u32 = 38;
/// By which the dashboards find each other.
const TAG: &str = "lacuna";
/// What the one who imports a dashboard by hand is asked for.
const INPUT: &str = "DS_PROMETHEUS";
/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;

/// The document of a dashboard.
pub(super) fn document(common: &Common, dashboard: &Dashboard) -> Value {
    let chosen = dashboard.variables.iter().filter_map(|name| Some((name, common.variables.get(name)?)));
    let queried = chosen.map(|(name, variable)| by_query(name, variable));
    let traces = common.traces.iter().map(|traces| of_traces(traces.plugin()));
    let variables: Vec<_> = [source()].into_iter().chain(traces).chain(queried).collect();
    let annotations: Vec<_> = [built_in()].into_iter().chain(common.annotations.iter().map(annotation)).collect();
    json!({
        "__inputs": [{
            "name": INPUT, "label": "Prometheus", "description": "", "type": "datasource",
            "pluginId": "prometheus", "pluginName": "Prometheus",
        }],
        "__requires": [
            { "type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.0.0" },
            { "type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0" },
        ],
        "annotations": { "list": annotations },
        "description": dashboard.about,
        "editable": true,
        "graphTooltip": 1,
        "id": null,
        "links": [link()],
        "panels": grid(dashboard, common),
        "refresh": "10s",
        "schemaVersion": SCHEMA,
        "tags": [TAG],
        "templating": { "list": variables },
        "time": { "from": "now-1h", "to": "now" },
        "timepicker": {},
        "timezone": "browser",
        "title": dashboard.title,
        "uid": dashboard.uid,
        "version": 1,
    })
}

/// The chosen data source.
pub(super) fn prometheus() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// Imported by hand, the answer to the input is chosen at first; provisioned, nobody replaces that, and Grafana takes its
/// default.
fn source() -> Value {
    let current = json!({ "selected": false, "text": "Prometheus", "value": format!("${{{INPUT}}}") });
    json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        "current": current, "hide": 0, "includeAll": false, "multi": false, "options": [], "refresh": 1,
        "regex": "", "skipUrlSync": false,
    })
}

fn of_traces(plugin: &str) -> Value {
    json!({
        "name": plugin, "label": format!("Traces ({plugin})"), "type": "datasource", "query": plugin,
        "description": "Where links to traces lead", "hide": 0, "includeAll": false, "multi": false,
        "options": [], "refresh": 1, "regex": "", "skipUrlSync": false,
    })
}

fn by_query(name: &str, variable: &Variable) -> Value {
    let mut made = json!({
        "name": name, "label": variable.label, "description": variable.about, "type": "query",
        "datasource": prometheus(), "query": { "query": variable.query, "refId": name },
        "hide": 0, "includeAll": variable.all, "multi": variable.all, "options": [], "refresh": 2,
        "regex": "", "skipUrlSync": false, "sort": 7,
    });
    if variable.all {
        made["current"] = json!({ "selected": true, "text": ["All"], "value": ["$__all"] });
    }
    made
}

/// What people note in Grafana itself.
fn built_in() -> Value {
    json!({
        "builtIn": 1, "datasource": { "type": "grafana", "uid": "-- Grafana --" }, "enable": true, "hide": true,
        "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
    })
}

fn annotation(annotation: &Annotation) -> Value {
    json!({
        "datasource": prometheus(), "enable": true, "hide": false, "iconColor": annotation.color,
        "name": annotation.name, "expr": annotation.expr, "step": annotation.step,
        "titleFormat": annotation.title, "textFormat": annotation.text, "tagKeys": annotation.tags,
        "useValueForTime": annotation.value_is_time,
    })
}

/// To the other dashboards, for the same time.
fn link() -> Value {
    json!({
        "type": "dashboards", "tags": [TAG], "title": "Lacuna", "tooltip": "", "icon": "external link", "url": "",
        "asDropdown": false, "includeVars": true, "keepTime": true, "targetBlank": false,
    })
}

/// The panels, each in its place: from left to right, and below what is there.
fn grid(dashboard: &Dashboard, common: &Common) -> Vec<Value> {
    let mut placed = Vec::new();
    let (mut x, mut y, mut tallest) = (0, 0, 0);
    for panel in &dashboard.panels {
        if panel.row.is_some() || x + panel.width > COLUMNS {
            (x, y, tallest) = (0, y + tallest, 0);
        }
        if let Some(title) = &panel.row {
            placed.push(row(placed.len() + 1, title, y));
            y += 1;
        }
        let place = json!({ "x": x, "y": y, "w": panel.width, "h": panel.height });
        placed.push(one(placed.len() + 1, panel, common, place));
        (x, tallest) = (x + panel.width, tallest.max(panel.height));
    }
    placed
}

fn row(id: usize, title: &str, y: u32) -> Value {
    json!({
        "id": id, "type": "row", "title": title, "collapsed": false, "panels": [],
        "gridPos": { "x": 0, "y": y, "w": COLUMNS, "h": 1 },
    })
}

fn one(id: usize, panel: &Panel, common: &Common, place: Value) -> Value {
    let mut made = panels::panel(panel, common);
    made["id"] = json!(id);
    made["gridPos"] = place;
    made["datasource"] = prometheus();
    if let Some(variable) = &panel.repeat {
        made["repeat"] = json!(variable);
        made["repeatDirection"] = json!("h");
        made["maxPerRow"] = json!(COLUMNS / panel.width.max(1));
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboards::description::Description;

    fn documents() -> Vec<Value> {
        let Description { common, dashboards } = Description::read().unwrap();
        dashboards.iter().map(|(_, dashboard)| document(&common, dashboard)).collect()
    }

    fn panels_of(document: &Value) -> &[Value] {
        document["panels"].as_array().unwrap()
    }

    fn place(panel: &Value) -> [u64; 4] {
        ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap())
    }

    #[test]
    fn panels_have_a_place_and_a_number_of_their_own() {
        for document in documents() {
            let panels = panels_of(&document);
            for (number, panel) in panels.iter().enumerate() {
                let [x, y, w, h] = place(panel);
                assert!(x + w <= u64::from(COLUMNS), "{}", panel["title"]);
                assert_eq!(panel["id"], number + 1);
                for other in &panels[..number] {
                    let [ox, oy, ow, oh] = place(other);
                    let apart = x >= ox + ow || ox >= x + w || y >= oy + oh || oy >= y + h;
                    assert!(apart, "{} lies on {}", panel["title"], other["title"]);
                }
            }
        }
    }

    #[test]
    fn every_data_source_is_a_variable() {
        for document in documents() {
            let text = document.to_string();
            let named = text.matches(r#""type":"prometheus","uid":""#).count();
            assert_eq!(named, text.matches(r#""type":"prometheus","uid":"${datasource}""#).count());
            assert!(named > 10);
        }
    }

    #[test]
    fn dashboards_link_only_to_dashboards_that_are_there() {
        let documents = documents();
        let there: Vec<_> = documents.iter().filter_map(|document| document["uid"].as_str()).collect();
        let mut links = 0;
        for text in documents.iter().map(Value::to_string) {
            for link in text.split("\"/d/").skip(1) {
                let uid = link.split(['/', '?']).next().unwrap();
                assert!(there.contains(&uid), "{uid}");
                links += 1;
            }
        }
        assert!(links > 5);
    }
}
