//! Channels and payloads, and what they ask for. Pure.
//!
//! Two styles: a channel of its own (`bucardo_kick_sync_X`), or channel `bucardo` with the request as payload
//! (`kick_sync_X`).

use std::collections::BTreeMap;

use bucardo_actors::board::{ActorId, TableId};
use bucardo_actors::model::{DbName, SyncName};
use bucardo_actors::ports::Notice;

/// The channel whose payload is the message.
pub(super) const CHANNEL: &str = "bucardo";
/// The same for controllers, which have numbers.
const CTL: &str = "bucardo_ctl";
/// The same for kids.
const KID: &str = "bucardo_kid";
/// Longer names cannot be channels (`NAMEDATALEN` - 1).
const NAME_BYTES_MAX: usize = 63;
/// Requests about no sync.
const WORDS: [(&str, Request); 7] = [
    ("mcp_ping", Request::Ping),
    ("vac_ping", Request::PingVac),
    ("mcp_reload", Request::Reload),
    ("reload_config", Request::ReloadConfig),
    ("mcp_fullstop", Request::FullStop),
    ("log_message", Request::LogMessage),
    ("stop_vac", Request::StopVac),
];

/// What somebody asks of the daemon by NOTIFY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Are you there?
    Ping,
    /// The same to the VAC.
    PingVac,
    /// The same to the controller or kid of this number.
    PingNumber(i32),
    /// Read the catalog again.
    Reload,
    /// Read the settings again.
    ReloadConfig,
    /// End.
    FullStop,
    /// There are lines for the log.
    LogMessage,
    /// End what the VAC does.
    StopVac,
    /// This database does not answer.
    DeadDb(DbName),
    /// Look at this sync.
    Kick(SyncName),
    /// Run it from now on.
    Activate(SyncName),
    /// Do not run it any more.
    Deactivate(SyncName),
    /// Start no more rounds of it.
    Pause(SyncName),
    /// Go on with it.
    Resume(SyncName),
    /// Read it again.
    ReloadSync(SyncName),
}

/// Request and notice: a database does not answer.
const DEAD_DB: &str = "dead_db_";

type AboutSync = fn(SyncName) -> Request;
const ABOUT_SYNCS: [(&str, AboutSync); 7] = [
    // What the MCP of version 4 told its controllers.
    ("ctl_kick_", Request::Kick),
    ("kick_sync_", Request::Kick),
    ("activate_sync_", Request::Activate),
    ("deactivate_sync_", Request::Deactivate),
    ("pause_sync_", Request::Pause),
    ("resume_sync_", Request::Resume),
    ("reload_sync_", Request::ReloadSync),
];

/// The request of a notification; `None`: it is none, such as an answer of the daemon itself.
pub(super) fn request(channel: &str, payload: &str) -> Option<Request> {
    if let Some(number) = [CTL, KID].iter().find_map(|role| pinged(role, channel, payload)) {
        return Some(Request::PingNumber(number));
    }
    if let Some(name) = payload.strip_prefix("kick_").filter(|name| channel == CTL && !name.is_empty()) {
        return Some(Request::Kick(name.into()));
    }
    let word = if channel == CHANNEL { payload } else { channel.strip_prefix("bucardo_")? };
    if let Some((_, request)) = WORDS.iter().find(|(known, _)| *known == word) {
        return Some(request.clone());
    }
    if let Some(db) = word.strip_prefix(DEAD_DB).filter(|db| !db.is_empty()) {
        return Some(Request::DeadDb(db.into()));
    }
    ABOUT_SYNCS.iter().find_map(|(prefix, about)| {
        let name = word.strip_prefix(prefix).filter(|name| !name.is_empty())?;
        Some(about(name.into()))
    })
}

/// `bucardo_ctl_12_ping`, or `12_ping` on `bucardo_ctl`.
fn pinged(role: &str, channel: &str, payload: &str) -> Option<i32> {
    let rest = channel.strip_prefix(role)?;
    let word = if rest.is_empty() { payload } else { rest.strip_prefix('_')? };
    word.strip_suffix("_ping")?.parse().ok()
}

/// The channels of the control database.
pub(super) fn control_channels<'a>(
    syncs: impl Iterator<Item = &'a SyncName> + Clone,
    dbs: impl Iterator<Item = &'a DbName>,
    numbers: &BTreeMap<ActorId, i32>,
) -> Vec<String> {
    let pings = numbers.iter().filter_map(|(id, number)| match id {
        ActorId::Ctl(_) => Some(format!("{CTL}_{number}_ping")),
        ActorId::Kid(_) => Some(format!("{KID}_{number}_ping")),
        _ => None,
    });
    let words = WORDS.iter().map(|(word, _)| format!("bucardo_{word}"));
    let about =
        ABOUT_SYNCS.iter().flat_map(|(prefix, _)| syncs.clone().map(move |sync| format!("bucardo_{prefix}{sync}")));
    let payloads = [CHANNEL, CTL, KID].map(str::to_owned).into_iter();
    let dead = dbs.map(|db| format!("bucardo_{DEAD_DB}{db}"));
    payloads.chain(words).chain(dead).chain(pings).chain(about).filter(|name| name.len() <= NAME_BYTES_MAX).collect()
}

/// The channels of a source: kicks only.
pub(super) fn source_channels<'a>(syncs: impl Iterator<Item = &'a SyncName>) -> Vec<String> {
    let kicks = syncs.map(|sync| format!("bucardo_kick_sync_{sync}"));
    std::iter::once(CHANNEL.to_owned()).chain(kicks).filter(|name| name.len() <= NAME_BYTES_MAX).collect()
}

/// A notice as it goes out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The channel whose name is the message; `None`: it would be too long.
    pub(super) own: Option<String>,
    /// The channel whose payload is the message.
    pub(super) channel: &'static str,
    /// The payload.
    pub(super) payload: String,
}

/// The notice in words, and what former versions said in its place; `number` is that of a controller or kid.
pub(super) fn notices(told: &Notice, number: impl Fn(&ActorId) -> i32) -> Vec<Said> {
    let former = match told {
        Notice::DbStalled(db) => Some(said(format!("{DEAD_DB}{db}"))),
        _ => None,
    };
    former.into_iter().chain([notice(told, number)]).collect()
}

fn said(words: String) -> Said {
    let own = format!("bucardo_{words}");
    Said { own: Some(own).filter(|own| own.len() <= NAME_BYTES_MAX), channel: CHANNEL, payload: words }
}

fn notice(notice: &Notice, number: impl Fn(&ActorId) -> i32) -> Said {
    let words = match notice {
        Notice::Boot => "boot".to_owned(),
        Notice::Started => "started".to_owned(),
        Notice::Stopped => "stopped".to_owned(),
        Notice::NoSyncs => "nosyncs".to_owned(),
        Notice::McpPong | Notice::Pong(ActorId::Mcp | ActorId::Db(_) | ActorId::Table(_)) => "mcp_pong".to_owned(),
        Notice::Pong(ActorId::Vac) => "vac_pong".to_owned(),
        Notice::Pong(id @ ActorId::Ctl(_)) => return pong(CTL, number(id)),
        Notice::Pong(id @ ActorId::Kid(_)) => return pong(KID, number(id)),
        Notice::ReloadedMcp => "reloaded_mcp".to_owned(),
        Notice::ReloadedConfig => "reload_config_finished".to_owned(),
        Notice::Activated(sync) => format!("activated_sync_{sync}"),
        Notice::Deactivated(sync) => format!("deactivated_sync_{sync}"),
        Notice::Reloaded(sync) => format!("reloaded_sync_{sync}"),
        Notice::ReloadError(sync) => format!("reload_error_sync_{sync}"),
        Notice::Paused(sync) => format!("paused_sync_{sync}"),
        Notice::Resumed(sync) => format!("resumed_sync_{sync}"),
        Notice::Stalled(sync) => format!("stalled_sync_{sync}"),
        Notice::Recovered(sync) => format!("recovered_sync_{sync}"),
        Notice::SyncDone(sync) => format!("syncdone_{sync}"),
        Notice::SyncKill(sync) => format!("synckill_{sync}"),
        Notice::TargetDone(sync, db) => format!("syncdone_{sync}_{db}"),
        Notice::TargetKill(sync, db) => format!("synckill_{sync}_{db}"),
        Notice::Clashed(sync) => format!("syncsleep_{sync}"),
        Notice::SyncError(sync) => format!("syncerror_{sync}"),
        Notice::Quarantined(TableId { kid, db, relation }) => format!("quarantined_table_{}_{db}_{relation}", kid.sync),
        Notice::Returned(TableId { kid, db, relation }) => format!("returned_table_{}_{db}_{relation}", kid.sync),
        Notice::DbStalled(db) => format!("stalled_db_{db}"),
        Notice::DbActive(db) => format!("active_db_{db}"),
    };
    said(words)
}

fn pong(channel: &'static str, number: i32) -> Said {
    Said { own: Some(format!("{channel}_{number}_pong")), channel, payload: format!("{number}_pong") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_styles_say_the_same() {
        let kick = Some(Request::Kick("orders".into()));
        assert_eq!(request("bucardo_kick_sync_orders", ""), kick);
        assert_eq!(request("bucardo", "kick_sync_orders"), kick);
        assert_eq!(request("bucardo_mcp_ping", ""), Some(Request::Ping));
        let dead = Some(Request::DeadDb("B".into()));
        assert_eq!((request("bucardo_dead_db_B", ""), request("bucardo", "dead_db_B")), (dead.clone(), dead));
        assert_eq!(request("bucardo_ctl_kick_orders", ""), kick);
        assert_eq!(request("bucardo_ctl", "kick_orders"), kick);
        assert_eq!(request("bucardo_stop_vac", ""), Some(Request::StopVac));
        assert_eq!(request("bucardo", "deactivate_sync_a_b"), Some(Request::Deactivate("a_b".into())));
    }

    #[test]
    fn controllers_and_kids_are_pinged_by_number() {
        for (channel, payload) in [("bucardo_ctl_12_ping", ""), ("bucardo_ctl", "12_ping"), ("bucardo_kid", "12_ping")]
        {
            assert_eq!(request(channel, payload), Some(Request::PingNumber(12)), "{channel} {payload}");
        }
        let said = notice(&Notice::Pong(ActorId::Ctl("a".into())), |_| 12);
        assert_eq!(
            (said.own.as_deref(), said.channel, &*said.payload),
            (Some("bucardo_ctl_12_pong"), "bucardo_ctl", "12_pong")
        );
        assert_eq!(request("bucardo_ctl", "12_pong"), None);
        assert_eq!(request("bucardo", "vac_ping"), Some(Request::PingVac));
    }

    #[test]
    fn answers_and_strangers_are_no_requests() {
        let others =
            [("bucardo", "mcp_pong"), ("bucardo_mcp_pong", ""), ("other", "mcp_ping"), ("bucardo", "kick_sync_")];
        for (channel, payload) in others {
            assert_eq!(request(channel, payload), None, "{channel} {payload}");
        }
        let (ctl, vac) = (ActorId::Ctl("a".into()), ActorId::Vac);
        for own in [
            Notice::Pong(ctl),
            Notice::Pong(vac),
            Notice::Started,
            Notice::SyncDone("a".into()),
            Notice::Reloaded("a".into()),
            Notice::ReloadedConfig,
        ] {
            let said = notice(&own, |_| 7);
            assert_eq!(request(said.channel, &said.payload), None, "{said:?}");
            assert_eq!(request(&said.own.unwrap(), ""), None, "{own:?}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_for_a_channel_is_heard_as_payload() {
        let long = SyncName::from("s".repeat(60));
        assert_eq!(source_channels(std::iter::once(&long)), ["bucardo"]);
        assert_eq!(notice(&Notice::SyncDone(long), |_| 7).own, None);
        let numbers = BTreeMap::from([(ActorId::Ctl("a".into()), 7), (ActorId::Mcp, 1)]);
        let dbs = [DbName::from("A"), DbName::from("B")];
        assert_eq!(control_channels([SyncName::from("a")].iter(), dbs.iter(), &numbers).len(), 3 + 7 + 7 + 2 + 1);
    }
}
