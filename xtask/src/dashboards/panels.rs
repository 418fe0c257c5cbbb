//! The panels of each kind as Grafana has them.

use serde_json::{Map, Value, json};

use super::description::{Common, Kind, Panel, Query};
use super::{grafana, links};

/// A panel without place and number.
pub(super) fn panel(panel: &Panel, common: &Common) -> Value {
    let mut made = json!({
        "type": plugin(panel.kind),
        "title": panel.title,
        "description": panel.about,
        "fieldConfig": { "defaults": defaults(panel, common), "overrides": [] },
        "options": options(panel),
        "targets": panel.queries.iter().zip('A'..='Z').map(|(query, letter)| target(panel.kind, query, letter)).collect::<Vec<_>>(),
    });
    let steps = transformations(panel.kind);
    if !steps.is_empty() {
        made["transformations"] = json!(steps);
    }
    made
}

fn plugin(kind: Kind) -> &'static str {
    match kind {
        Kind::Stat => "stat",
        Kind::Timeseries | Kind::Bars => "timeseries",
        Kind::Table | Kind::Matrix => "table",
        Kind::Heatmap => "heatmap",
        Kind::States => "state-timeline",
    }
}

fn target(kind: Kind, query: &Query, letter: char) -> Value {
    let (format, legend) = match kind {
        Kind::Table | Kind::Matrix => ("table", ""),
        Kind::Heatmap => ("heatmap", "{{le}}"),
        _ => ("time_series", query.legend.as_str()),
    };
    json!({
        "refId": letter.to_string(), "datasource": grafana::prometheus(), "editorMode": "code", "expr": query.expr,
        "format": format, "legendFormat": legend, "instant": kind.is_of_now(), "range": !kind.is_of_now(),
        "exemplar": query.exemplar,
    })
}

fn defaults(panel: &Panel, common: &Common) -> Value {
    let mut defaults = Map::new();
    defaults.insert("color".into(), json!({ "mode": colours(panel) }));
    defaults.insert("custom".into(), custom(panel));
    defaults.insert("thresholds".into(), json!({ "mode": "absolute", "steps": thresholds(panel) }));
    defaults.insert("mappings".into(), json!(mappings(panel)));
    let links: Vec<_> = panel.links.iter().flat_map(|to| links::links(panel.kind, to, common)).collect();
    defaults.insert("links".into(), json!(links));
    if let Some(unit) = &panel.unit {
        defaults.insert("unit".into(), json!(unit));
    }
    Value::Object(defaults)
}

fn colours(panel: &Panel) -> &'static str {
    match panel.kind {
        Kind::Stat | Kind::Table | Kind::Matrix => "thresholds",
        Kind::Timeseries | Kind::Bars | Kind::Heatmap | Kind::States => "palette-classic",
    }
}

fn thresholds(panel: &Panel) -> Value {
    match (panel.red_from, panel.green_from) {
        (Some(red), _) => json!([{ "color": "green", "value": null }, { "color": "red", "value": red }]),
        (None, Some(green)) => json!([{ "color": "red", "value": null }, { "color": "green", "value": green }]),
        (None, None) => json!([{ "color": "green", "value": null }]),
    }
}

fn mappings(panel: &Panel) -> Vec<Value> {
    if panel.states.is_empty() {
        return Vec::new();
    }
    let colour = |value: &str| if value == "0" || panel.states.len() == 1 { "red" } else { "green" };
    let shown = |(value, text): (&String, &String)| (value.clone(), json!({ "text": text, "color": colour(value) }));
    let states: Map<String, Value> = panel.states.iter().map(shown).collect();
    vec![json!({ "type": "value", "options": states })]
}

fn custom(panel: &Panel) -> Value {
    let scale = if panel.log { json!({ "type": "log", "log": 10 }) } else { json!({ "type": "linear" }) };
    match panel.kind {
        Kind::Stat => json!({}),
        Kind::Timeseries => json!({
            "drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "spanNulls": false,
            "scaleDistribution": scale,
        }),
        Kind::Bars => json!({
            "drawStyle": "bars", "lineWidth": 1, "fillOpacity": 80, "showPoints": "never",
            "stacking": { "mode": "normal", "group": "A" }, "scaleDistribution": scale,
        }),
        Kind::Table => json!({ "align": "auto", "cellOptions": { "type": "auto" }, "inspect": false }),
        Kind::Matrix => json!({
            "align": "center", "cellOptions": { "type": "color-background", "mode": "basic" }, "inspect": false,
        }),
        Kind::Heatmap => json!({ "hideFrom": { "legend": false, "tooltip": false, "viz": false } }),
        Kind::States => json!({ "fillOpacity": 70, "lineWidth": 0 }),
    }
}

fn options(panel: &Panel) -> Value {
    let legend = json!({ "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true });
    match panel.kind {
        Kind::Stat => json!({
            "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto",
            "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
            "showPercentChange": false, "textMode": "value", "wideLayout": true,
        }),
        Kind::Timeseries | Kind::Bars => json!({ "legend": legend, "tooltip": { "mode": "multi", "sort": "desc" } }),
        Kind::Table | Kind::Matrix => json!({ "cellHeight": "sm", "frameIndex": 0, "showHeader": true }),
        Kind::Heatmap => heat(panel.unit.as_deref().unwrap_or("short")),
        Kind::States => json!({
            "alignValue": "left", "legend": legend, "mergeValues": true, "rowHeight": 0.9, "showValue": "auto",
            "tooltip": { "mode": "single", "sort": "none" },
        }),
    }
}

fn heat(unit: &str) -> Value {
    json!({
        "calculate": false,
        "cellGap": 1,
        "color": {
            "mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "scale": "exponential", "exponent": 0.5,
            "reverse": false, "steps": 64,
        },
        "exemplars": { "color": "rgba(255,0,255,0.7)" },
        // What counts nothing is not drawn.
        "filterValues": { "le": 1e-9 },
        "legend": { "show": true },
        "rowsFrame": { "layout": "auto" },
        "showValue": "never",
        "tooltip": { "mode": "single", "show": true, "yHistogram": true },
        "yAxis": { "axisPlacement": "left", "reverse": false, "unit": unit },
    })
}

fn transformations(kind: Kind) -> Vec<Value> {
    match kind {
        Kind::Table => {
            vec![
                json!({ "id": "organize", "options": { "excludeByName": { "Time": true }, "indexByName": {}, "renameByName": {} } }),
            ]
        }
        Kind::Matrix => vec![json!({
            "id": "groupingToMatrix",
            "options": { "rowField": "instance", "columnField": "peer", "valueField": "Value", "emptyValue": "null" },
        })],
        _ => Vec::new(),
    }
}
