//! Channels and payloads, and what they ask for. Pure.
//!
//! Two styles: a channel of its own (`bucardo_kick_sync_X`), or channel `bucardo` with the request as payload
//! (`kick_sync_X`).

use bucardo_actors::model::SyncName;
use bucardo_actors::ports::Notice;

/// The channel whose payload is the message.
pub(super) const CHANNEL: &str = "bucardo";
/// Longer names cannot be channels (`NAMEDATALEN` - 1).
const NAME_BYTES_MAX: usize = 63;
/// Requests about no sync.
const WORDS: [(&str, Request); 5] = [
    ("mcp_ping", Request::Ping),
    ("mcp_reload", Request::Reload),
    ("reload_config", Request::ReloadConfig),
    ("mcp_fullstop", Request::FullStop),
    ("log_message", Request::LogMessage),
];

/// What somebody asks of the daemon by NOTIFY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Are you there?
    Ping,
    /// Read the catalog again.
    Reload,
    /// Read the settings again.
    ReloadConfig,
    /// End.
    FullStop,
    /// There are lines for the log.
    LogMessage,
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

type AboutSync = fn(SyncName) -> Request;
const ABOUT_SYNCS: [(&str, AboutSync); 6] = [
    ("kick_sync_", Request::Kick),
    ("activate_sync_", Request::Activate),
    ("deactivate_sync_", Request::Deactivate),
    ("pause_sync_", Request::Pause),
    ("resume_sync_", Request::Resume),
    ("reload_sync_", Request::ReloadSync),
];

/// The request of a notification; `None`: it is none, such as an answer of the daemon itself.
pub(super) fn request(channel: &str, payload: &str) -> Option<Request> {
    let word = if channel == CHANNEL { payload } else { channel.strip_prefix("bucardo_")? };
    if let Some((_, request)) = WORDS.iter().find(|(known, _)| *known == word) {
        return Some(request.clone());
    }
    ABOUT_SYNCS.iter().find_map(|(prefix, about)| {
        let name = word.strip_prefix(prefix).filter(|name| !name.is_empty())?;
        Some(about(name.into()))
    })
}

/// The channels of the control database.
pub(super) fn control_channels<'a>(syncs: impl Iterator<Item = &'a SyncName> + Clone) -> Vec<String> {
    let words = WORDS.iter().map(|(word, _)| format!("bucardo_{word}"));
    let about =
        ABOUT_SYNCS.iter().flat_map(|(prefix, _)| syncs.clone().map(move |sync| format!("bucardo_{prefix}{sync}")));
    std::iter::once(CHANNEL.to_owned()).chain(words).chain(about).filter(|name| name.len() <= NAME_BYTES_MAX).collect()
}

/// The channels of a source: kicks only.
pub(super) fn source_channels<'a>(syncs: impl Iterator<Item = &'a SyncName>) -> Vec<String> {
    let kicks = syncs.map(|sync| format!("bucardo_kick_sync_{sync}"));
    std::iter::once(CHANNEL.to_owned()).chain(kicks).filter(|name| name.len() <= NAME_BYTES_MAX).collect()
}

/// The notice in words, and whether they can be a channel.
pub(super) fn notice(notice: &Notice) -> (String, bool) {
    let words = match notice {
        Notice::Boot => "boot".to_owned(),
        Notice::Started => "started".to_owned(),
        Notice::Stopped => "stopped".to_owned(),
        Notice::NoSyncs => "nosyncs".to_owned(),
        Notice::McpPong => "mcp_pong".to_owned(),
        Notice::ReloadedMcp => "reloaded_mcp".to_owned(),
        Notice::ReloadedConfig => "reload_config_finished".to_owned(),
        Notice::Activated(sync) => format!("activated_sync_{sync}"),
        Notice::Deactivated(sync) => format!("deactivated_sync_{sync}"),
        Notice::Reloaded(sync) => format!("reloaded_sync_{sync}"),
        Notice::ReloadError(sync) => format!("reload_error_sync_{sync}"),
        Notice::SyncDone(sync) => format!("syncdone_{sync}"),
        Notice::SyncKill(sync) => format!("synckill_{sync}"),
        Notice::SyncError(sync) => format!("syncerror_{sync}"),
    };
    let fits = words.len() + "bucardo_".len() <= NAME_BYTES_MAX;
    (words, fits)
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
        assert_eq!(request("bucardo", "deactivate_sync_a_b"), Some(Request::Deactivate("a_b".into())));
    }

    #[test]
    fn answers_and_strangers_are_no_requests() {
        let others =
            [("bucardo", "mcp_pong"), ("bucardo_mcp_pong", ""), ("other", "mcp_ping"), ("bucardo", "kick_sync_")];
        for (channel, payload) in others {
            assert_eq!(request(channel, payload), None, "{channel} {payload}");
        }
        for own in [Notice::Started, Notice::SyncDone("a".into()), Notice::Reloaded("a".into()), Notice::ReloadedConfig]
        {
            assert_eq!(request("bucardo", &notice(&own).0), None, "{own:?}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_for_a_channel_is_heard_as_payload() {
        let long = SyncName::from("s".repeat(60));
        assert_eq!(source_channels(std::iter::once(&long)), ["bucardo"]);
        assert!(!notice(&Notice::SyncDone(long)).1);
        assert_eq!(control_channels([SyncName::from("a")].iter()).len(), 1 + 5 + 6);
    }
}
