//! Values as attributes: members of members with dots between their names.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use serde::Serialize;
use serde_json::Value;

/// Most attributes of one span or event; those beyond are counted.
const MAX: usize = 64;

/// Attributes in the order in which they were told.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    list: Vec<KeyValue>,
    dropped: u32,
}

impl Attributes {
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.add(text(key, value));
    }

    pub(super) fn number(&mut self, key: &str, value: f64) {
        self.add(of(key, Any::DoubleValue(value)));
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) {
        self.add(of(key, Any::BoolValue(value)));
    }

    /// All that it says as JSON, below that key; what is absent there is here.
    pub(super) fn all(&mut self, key: &str, value: &impl Serialize) {
        match serde_json::to_value(value).unwrap_or_default() {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| self.all(&format!("{key}.{name}"), value));
            }
            value => self.list.extend(any(&value).map(|value| of(key, value))),
        }
        self.cut();
    }

    pub(super) fn into_parts(self) -> (Vec<KeyValue>, u32) {
        (self.list, self.dropped)
    }

    fn add(&mut self, attribute: KeyValue) {
        self.list.push(attribute);
        self.cut();
    }

    fn cut(&mut self) {
        let beyond = self.list.len().saturating_sub(MAX);
        self.list.truncate(MAX);
        self.dropped = self.dropped.saturating_add(u32::try_from(beyond).unwrap_or(u32::MAX));
    }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    of(key, Any::StringValue(value.to_owned()))
}

fn of(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// A list of texts or numbers is a list; one of anything else, and an object in a list, is its JSON.
fn any(value: &Value) -> Option<Any> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => Any::BoolValue(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Any::IntValue(whole),
            None => Any::DoubleValue(number.as_f64()?),
        },
        Value::String(text) => Any::StringValue(text.clone()),
        Value::Array(list) if list.is_empty() => return None,
        Value::Array(list) if list.iter().all(|one| !one.is_array() && !one.is_object()) => {
            let values = list.iter().filter_map(any).map(|value| AnyValue { value: Some(value) }).collect();
            Any::ArrayValue(ArrayValue { values })
        }
        other => Any::StringValue(other.to_string()),
    })
}
