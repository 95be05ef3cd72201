//! What an event says: its message, its fields, the sync it is about.

use std::fmt::{self, Write as _};

use serde_json::Value;
use tracing::field::{Field, Visit};

/// The message and the fields of an event.
#[derive(Default)]
pub(super) struct Words {
    /// The message.
    pub(super) message: String,
    /// The fields, in their order.
    pub(super) fields: Vec<(&'static str, Value)>,
    /// The sync that it is about, where a field says so.
    pub(super) sync: Option<String>,
}

impl Words {
    /// A field that is a text.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name)?.1.as_str()
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message.push_str(&text),
            ("message", other) => {
                let _ = write!(self.message, "{other}");
            }
            (name, value) => {
                if matches!(name, "sync" | "kid") {
                    self.sync = value.as_str().and_then(|text| text.split(' ').next()).map(str::to_owned);
                }
                self.fields.push((name, value));
            }
        }
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, Value::from(crate::pg::causes(value)));
    }
}
