//! Alerts in words, and the mail that a batch of them makes. Pure.

use std::fmt::Write as _;
use std::time::SystemTime;

use bucardo_actors::board::{ActorId, TableId};
use bucardo_actors::model::DbName;
use chrono::{DateTime, Local};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::postbox::{Alert, Batch};
use super::watch::{News, Trouble, Who};
use crate::custom::Mail;

/// Longer subjects are cut.
const SUBJECT_MAX: usize = 150;
/// What a custom code writes is cut after so many characters.
const BODY_MAX: usize = 20_000;

/// Who writes: the host, and a link for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) host: String,
    pub(super) stats_url: String,
}

/// A mail without its addresses. The subject is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) body: String,
}

fn clock(at: SystemTime) -> String {
    DateTime::<Local>::from(at).format("%a %b %e %H:%M:%S %Y").to_string()
}

/// Names come from tables that others may write to: no line ends in what is one line.
fn one_line(text: &str) -> String {
    text.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}

/// `  Name: value`
fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name}: {}", one_line(value));
}

impl Writer {
    fn alert(&self, at: SystemTime, subject: &str, text: String) -> Alert {
        let mut subject = one_line(subject);
        let end = subject.char_indices().nth(SUBJECT_MAX).map_or(subject.len(), |(end, _)| end);
        subject.truncate(end);
        let _ = write!(subject, " on {}", self.host);
        Alert { at, subject: one_line(&subject), text }
    }

    /// The daemon is up.
    pub(super) fn started(&self, at: SystemTime, pid: u32, reason: &str) -> Alert {
        let mut text = String::new();
        line(&mut text, "PID", &pid.to_string());
        if !reason.is_empty() {
            line(&mut text, "Reason", reason);
        }
        self.alert(at, &format!("Bucardo {} started", env!("CARGO_PKG_VERSION")), text)
    }

    /// The daemon was asked to end.
    pub(super) fn stopped(&self, at: SystemTime, pid: u32, reason: &str) -> Alert {
        let mut text = String::new();
        if !reason.is_empty() {
            line(&mut text, "Reason", reason);
        }
        self.alert(at, &format!("Bucardo MCP {pid} stopped"), text)
    }

    /// The daemon ends by itself.
    pub(super) fn killed(&self, at: SystemTime, pid: u32, error: &str, hint: Option<&str>) -> Alert {
        let mut text = String::new();
        line(&mut text, "Error", error);
        if let Some(hint) = hint {
            line(&mut text, "Hint", hint);
        }
        self.alert(at, &format!("Bucardo MCP {pid} was killed"), text)
    }

    /// The daemon before this one could not even say that it ends.
    pub(super) fn vanished(&self, at: SystemTime, pid: u32) -> Alert {
        let mut text = String::new();
        line(&mut text, "Error", "it ended without a word: a power failure, kill -9, or the machine ran out of memory");
        line(&mut text, "Hint", "nothing is lost; the kernel's log may tell why");
        self.alert(at, &format!("Bucardo MCP {pid} was killed"), text)
    }

    /// What a custom code wants to be told.
    pub(super) fn code(&self, at: SystemTime, mail: &Mail) -> Alert {
        let Mail { sync, code, subject, body } = mail;
        let mut text =
            body.chars().take(BODY_MAX).filter(|sign| *sign == '\n' || !sign.is_control()).collect::<String>();
        text.push_str("\n\n");
        line(&mut text, "Sync", sync);
        line(&mut text, "Custom code", code);
        let subject = if subject.is_empty() { format!("Custom code {code} of sync {sync}") } else { subject.clone() };
        self.alert(at, &subject, text)
    }

    /// What the board shows.
    pub(super) fn news(&self, at: SystemTime, news: &News) -> Alert {
        match news {
            News::Trouble(trouble) => self.trouble(at, trouble),
            News::Recovered { who, since } => {
                let mut text = String::new();
                line(&mut text, "In trouble since", &clock(*since));
                self.about(&mut text, who);
                self.alert(at, &format!("{} has recovered", name(who)), text)
            }
        }
    }

    fn trouble(&self, at: SystemTime, trouble: &Trouble) -> Alert {
        let mut text = String::new();
        line(&mut text, "Error", &trouble.error);
        if let Some(hint) = &trouble.hint {
            line(&mut text, "Hint", hint);
        }
        line(&mut text, "Since", &clock(trouble.since));
        if let Some(next) = trouble.next_try {
            line(&mut text, "Next try", &clock(next));
        }
        self.about(&mut text, &trouble.who);
        let what = match (&trouble.who.1, trouble.stalled) {
            (Some(_), _) => "is away",
            (None, true) => "is stalled",
            (None, false) if matches!(trouble.who.0, ActorId::Table(_)) => "is quarantined",
            (None, false) => "keeps failing",
        };
        self.alert(at, &format!("{} {what}", name(&trouble.who)), text)
    }

    fn about(&self, text: &mut String, who: &Who) {
        let sync = match &who.0 {
            ActorId::Kid(kid) => &kid.sync,
            ActorId::Ctl(sync) => sync,
            ActorId::Table(table) => &table.kid.sync,
            _ => return,
        };
        line(text, "More", &format!("bucardo status {sync}"));
        if !self.stats_url.is_empty() {
            let sync = utf8_percent_encode(sync.as_str(), NON_ALPHANUMERIC);
            line(text, "Statistics", &format!("{}?sync={sync}", self.stats_url));
        }
    }

    /// The mail that a batch makes.
    pub(super) fn letter(&self, batch: &Batch) -> Letter {
        let count = batch.alerts.len() as u64 + batch.dropped;
        let subject = match (batch.alerts.as_slice(), batch.held_since) {
            ([only], None) => only.subject.clone(),
            (_, None) => format!("Bucardo: {count} alerts on {}", self.host),
            (_, Some(_)) => format!("Bucardo: {count} alerts that were held back on {}", self.host),
        };
        let mut body = String::new();
        if let Some(since) = batch.held_since {
            let _ = writeln!(
                body,
                "No mail could be sent since {}: the hour had had its mails (email_hour_max), or the mail \
                 server was away. This is what happened.\n",
                clock(since)
            );
        }
        if batch.dropped > 0 {
            let _ = writeln!(
                body,
                "{} more alerts, between the first and the last of these, were dropped; the log has them.\n",
                batch.dropped
            );
        }
        for alert in &batch.alerts {
            let _ = writeln!(body, "{} {}\n{}", clock(alert.at), alert.subject, alert.text);
        }
        Letter { subject: one_line(&subject), body }
    }
}

/// As the subjects of Bucardo name it.
fn name((id, db): &(ActorId, Option<DbName>)) -> String {
    let who = match id {
        ActorId::Mcp => "Bucardo's hold on its control database".to_owned(),
        ActorId::Vac => "Bucardo VAC".to_owned(),
        ActorId::Ctl(sync) => format!("Bucardo controller for \"{sync}\""),
        ActorId::Db(db) => format!("Bucardo database \"{db}\""),
        ActorId::Table(TableId { kid, db, relation }) => {
            format!("Bucardo table \"{relation}\" of \"{}\" on \"{db}\"", kid.sync)
        }
        ActorId::Kid(kid) => format!("Bucardo kid for \"{}\" ({})", kid.sync, work(kid)),
    };
    match db {
        Some(db) => format!("Database \"{db}\" of {}", who.replacen("Bucardo", "the", 1)),
        None => who,
    }
}

/// Its part of the work, without the sync.
fn work(kid: &bucardo_actors::model::KidId) -> String {
    let whole = kid.to_string();
    whole.strip_prefix(kid.sync.as_str()).unwrap_or(&whole).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bucardo_actors::model::Pair;

    use super::*;

    const AT: SystemTime = SystemTime::UNIX_EPOCH;

    fn writer() -> Writer {
        Writer { host: "db1".to_owned(), stats_url: "http://stats/".to_owned() }
    }

    fn kid(sync: &str) -> ActorId {
        ActorId::Kid(Pair { sync: sync.into(), source: "A".into(), target: "B".into() }.into())
    }

    fn trouble(who: Who, stalled: bool) -> News {
        News::Trouble(Trouble {
            who,
            stalled,
            since: AT,
            error: "no table \"x\"".to_owned(),
            hint: Some("make it".to_owned()),
            next_try: Some(AT + Duration::from_secs(60)),
        })
    }

    #[test]
    fn subjects_say_who_what_and_where() {
        let writer = writer();
        let subject = |news: &News| writer.news(AT, news).subject;
        assert_eq!(subject(&trouble((kid("s"), None), true)), "Bucardo kid for \"s\" (A->B) is stalled on db1");
        let ctl = ActorId::Ctl("s".into());
        assert_eq!(subject(&trouble((ctl, None), true)), "Bucardo controller for \"s\" is stalled on db1");
        let away = subject(&trouble((kid("s"), Some("C".into())), false));
        assert_eq!(away, "Database \"C\" of the kid for \"s\" (A->B) is away on db1");
        let lost = subject(&trouble((ActorId::Mcp, None), false));
        assert_eq!(lost, "Bucardo's hold on its control database keeps failing on db1");
        let back = News::Recovered { who: (kid("s"), None), since: AT };
        assert_eq!(subject(&back), "Bucardo kid for \"s\" (A->B) has recovered on db1");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(writer.started(AT, 7, "").subject, format!("Bucardo {version} started on db1"));
        assert_eq!(writer.killed(AT, 7, "x", None).subject, "Bucardo MCP 7 was killed on db1");
    }

    #[test]
    fn bodies_say_why_and_what_to_do() {
        let text = writer().news(AT, &trouble((kid("my sync"), None), true)).text;
        for line in [
            "  Error: no table \"x\"\n",
            "  Hint: make it\n",
            "  Next try: ",
            "?sync=my%20sync\n",
            "bucardo status my sync",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(writer().started(AT, 7, "after the\nupgrade").text.contains("  Reason: after the upgrade\n"));
    }

    #[test]
    fn a_hostile_name_is_one_line() {
        let news = trouble((kid("x\r\nBcc: all@example.org\r\n\r\n.\r\nQUIT"), None), true);
        let alert = writer().news(AT, &news);
        assert!(!alert.subject.contains(['\r', '\n']), "{:?}", alert.subject);
        assert!(!alert.text.lines().any(|line| line.starts_with("Bcc") || line == "."), "{}", alert.text);
        let long = writer().news(AT, &trouble((kid(&"ä".repeat(5000)), None), true)).subject;
        assert!(long.chars().count() < 200 && long.ends_with(" on db1"), "{long}");
        let host = Writer { host: "a\nb".to_owned(), ..writer() };
        assert_eq!(
            host.letter(&Batch { alerts: Vec::new(), dropped: 0, held_since: None }).subject,
            "Bucardo: 0 alerts on a b"
        );
    }

    #[test]
    fn one_mail_has_them_all() {
        let writer = writer();
        let alerts = vec![writer.started(AT, 7, ""), writer.news(AT, &trouble((kid("s"), None), true))];
        let one = Batch { alerts: alerts[..1].to_vec(), dropped: 0, held_since: None };
        assert_eq!(writer.letter(&one).subject, alerts[0].subject);
        let both = writer.letter(&Batch { alerts: alerts.clone(), dropped: 0, held_since: None });
        assert_eq!(both.subject, "Bucardo: 2 alerts on db1");
        assert!(alerts.iter().all(|alert| both.body.contains(&alert.subject) && both.body.contains(&alert.text)));
        let held = writer.letter(&Batch { alerts, dropped: 3, held_since: Some(AT) });
        assert_eq!(held.subject, "Bucardo: 5 alerts that were held back on db1");
        assert!(
            held.body.contains("No mail could be sent since") && held.body.contains("3 more alerts"),
            "{}",
            held.body
        );
    }
}
