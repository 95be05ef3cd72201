//! What every input of a call has besides what it is about.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mlua::{Function, Lua, Table, Value};
use serde_json::{Map, Value as Json};
use tokio::sync::mpsc;

use super::convert::to_lua;
use super::handle::{Asked, Handle};
use crate::custom::MAILS_MAX;

/// Keys of an input that are for the code alone.
const OWN: [&str; 5] = ["dbh", "sourcedbh", "targetdbh", "shared", "sendmail"];

/// It, in Lua.
pub(super) struct Around<'a> {
    common: &'a Map<String, Json>,
    values: Vec<(&'a str, Value)>,
    shared: &'a Value,
    dbs: Option<Table>,
    /// `input.sendmail{subject = …, body = …}`: it is sent when the code has ended well.
    sendmail: Function,
    pub(super) mails: Table,
}

impl<'a> Around<'a> {
    pub(super) fn new(
        (lua, stop): (&Lua, &Arc<AtomicBool>),
        common: &'a Map<String, Json>,
        shared: &'a Value,
        (names, asks): (Option<Vec<String>>, mpsc::Sender<Asked>),
    ) -> mlua::Result<Self> {
        let handles = |names: Vec<String>| {
            let dbs = lua.create_table()?;
            for db in names {
                let name = db.clone();
                dbs.raw_set(name, Handle { db, asks: asks.clone(), stop: Arc::clone(stop) })?;
            }
            Ok::<_, mlua::Error>(dbs)
        };
        let dbs = names.map(handles).transpose()?;
        let values = common.iter().map(|(key, value)| Ok((key.as_str(), to_lua(lua, value)?)));
        let values = values.collect::<mlua::Result<_>>()?;
        let mails = lua.create_table()?;
        let mailbox = mails.clone();
        let sendmail = lua.create_function(move |_, mail: Table| put(&mailbox, mail))?;
        Ok(Self { common, values, shared, dbs, sendmail, mails })
    }

    /// Puts it into an input; `given`: what that one has already.
    pub(super) fn put(&self, input: &Table, given: &Map<String, Json>) -> mlua::Result<()> {
        for (key, value) in &self.values {
            input.raw_set(*key, value)?;
        }
        input.raw_set("shared", self.shared)?;
        if let Some(dbs) = &self.dbs {
            input.raw_set("dbh", dbs)?;
            for (handle, side) in [("sourcedbh", "sourcename"), ("targetdbh", "targetname")] {
                let told = |key: &str| given.get(key).or_else(|| self.common.get(key)).and_then(Json::as_str);
                if let Some(name) = told(handle).or_else(|| told(side)) {
                    input.raw_set(handle, dbs.raw_get::<Value>(name)?)?;
                }
            }
        }
        input.raw_set("sendmail", &self.sendmail)
    }

    /// Whether a key is not taken back: what is one for all inputs is not, either.
    pub(super) fn is_left(&self, key: &str) -> bool {
        OWN.contains(&key) || self.common.get(key).is_some_and(|value| value.is_object() || value.is_array())
    }

    /// Such keys.
    pub(super) fn left(&self) -> impl Iterator<Item = &str> {
        OWN.into_iter().chain(self.common.keys().map(String::as_str)).filter(|key| self.is_left(key))
    }
}

/// A mail goes into the box; of those that are too many only the number.
fn put(mails: &Table, mail: Table) -> mlua::Result<()> {
    if mails.raw_len() < MAILS_MAX {
        return mails.raw_push(mail);
    }
    let more: Option<i64> = mails.raw_get(MAILS_MAX + 1)?;
    mails.raw_set(MAILS_MAX + 1, more.unwrap_or_default() + 1)
}
