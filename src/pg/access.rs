//! How to reach one database, in the words of libpq.

use std::collections::BTreeMap;
use std::fmt;

use super::connect_error::ConnectError;
use super::conninfo;

/// What a keyword of libpq means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It is obeyed.
    Used,
    /// It changes nothing for this program; it is accepted so that existing connection strings work.
    Ignored,
    /// To ignore it would weaken or change the connection, so it is refused.
    Refused,
}

/// Every keyword of libpq 18 (manual, "Parameter Key Words") with the environment variable of its default.
const KEYWORDS: &[(&str, Option<&str>, Meaning)] = &[
    ("host", Some("PGHOST"), Meaning::Used),
    ("hostaddr", Some("PGHOSTADDR"), Meaning::Used),
    ("port", Some("PGPORT"), Meaning::Used),
    ("dbname", Some("PGDATABASE"), Meaning::Used),
    ("user", Some("PGUSER"), Meaning::Used),
    ("password", Some("PGPASSWORD"), Meaning::Used),
    ("passfile", Some("PGPASSFILE"), Meaning::Used),
    ("service", Some("PGSERVICE"), Meaning::Used),
    ("servicefile", Some("PGSERVICEFILE"), Meaning::Used),
    ("channel_binding", Some("PGCHANNELBINDING"), Meaning::Used),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT"), Meaning::Used),
    ("options", Some("PGOPTIONS"), Meaning::Used),
    ("application_name", Some("PGAPPNAME"), Meaning::Used),
    ("keepalives", None, Meaning::Used),
    ("keepalives_idle", None, Meaning::Used),
    ("keepalives_interval", None, Meaning::Used),
    ("keepalives_count", None, Meaning::Used),
    ("tcp_user_timeout", None, Meaning::Used),
    ("sslmode", Some("PGSSLMODE"), Meaning::Used),
    ("sslnegotiation", Some("PGSSLNEGOTIATION"), Meaning::Used),
    ("sslcert", Some("PGSSLCERT"), Meaning::Used),
    ("sslkey", Some("PGSSLKEY"), Meaning::Used),
    ("sslrootcert", Some("PGSSLROOTCERT"), Meaning::Used),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), Meaning::Used),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Meaning::Used),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), Meaning::Used),
    ("client_encoding", None, Meaning::Ignored),
    ("fallback_application_name", None, Meaning::Ignored),
    ("sslcompression", None, Meaning::Ignored),
    ("sslsni", None, Meaning::Ignored),
    ("gssencmode", None, Meaning::Ignored),
    ("gssdelegation", None, Meaning::Ignored),
    ("gsslib", None, Meaning::Ignored),
    ("krbsrvname", None, Meaning::Ignored),
    ("sslpassword", None, Meaning::Refused),
    ("sslcertmode", None, Meaning::Refused),
    ("sslcrl", None, Meaning::Refused),
    ("sslcrldir", None, Meaning::Refused),
    ("ssl_max_protocol_version", None, Meaning::Refused),
    ("requirepeer", None, Meaning::Refused),
    ("require_auth", None, Meaning::Refused),
    ("requiressl", None, Meaning::Refused),
    ("replication", None, Meaning::Refused),
];

/// All parameters of libpq for one database. What is not set comes, when connecting, from the service
/// file, the environment and the defaults, as libpq does it.
///
/// `Debug` and `Display` never show the password.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Access {
    words: BTreeMap<&'static str, String>,
}

impl Access {
    /// Nothing set: the defaults of libpq apply (`PGHOST` and its like, the service file, `.pgpass`).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `key=value` words or a `postgresql://` URI.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Conninfo`] for text that is neither, or for an unknown or unsupported keyword.
    pub fn parse(conninfo: &str) -> Result<Self, ConnectError> {
        let mut access = Self::new();
        for (keyword, value) in conninfo::parse(conninfo)? {
            access.set(&keyword, &value)?;
        }
        Ok(access)
    }

    /// Sets one parameter; an empty value means "not set", as in libpq.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Conninfo`] for a keyword that libpq does not know or that is not supported here.
    pub fn set(&mut self, keyword: &str, value: &str) -> Result<(), ConnectError> {
        let Some((word, _, meaning)) = KEYWORDS.iter().find(|(word, ..)| *word == keyword) else {
            return Err(ConnectError::Conninfo(format!("unknown connection parameter \"{keyword}\"")));
        };
        match meaning {
            Meaning::Refused => {
                Err(ConnectError::Conninfo(format!("connection parameter \"{keyword}\" is not supported")))
            }
            Meaning::Ignored => Ok(()),
            Meaning::Used if value.is_empty() => {
                self.words.remove(word);
                Ok(())
            }
            Meaning::Used => {
                self.words.insert(word, value.to_owned());
                Ok(())
            }
        }
    }

    /// The value of one parameter as it was set here; defaults are not looked at.
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.words.get(keyword).map(String::as_str)
    }

    /// `host=… port=… dbname=… user=…`, and the service where one is named; never the password.
    #[must_use]
    pub fn describe(&self) -> String {
        let shown = ["service", "host", "hostaddr", "port", "dbname", "user"];
        let words: Vec<String> = shown.iter().filter_map(|word| Some(format!("{word}={}", self.get(word)?))).collect();
        if words.is_empty() { "the default database".to_owned() } else { words.join(" ") }
    }

    /// Words that [`Access::parse`] reads back, all but the password.
    #[must_use]
    pub fn without_password(&self) -> String {
        let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
        // The database is always among them: no text at all would be no connection string.
        let dbname = ("dbname", self.get("dbname").unwrap_or_default());
        let others = self.words.iter().map(|(word, value)| (*word, value.as_str()));
        let others = others.filter(|(word, _)| !matches!(*word, "dbname" | "password"));
        let words: Vec<String> =
            std::iter::once(dbname).chain(others).map(|(word, value)| format!("{word}='{}'", quoted(value))).collect();
        words.join(" ")
    }

    /// Adds what is not set yet.
    pub(super) fn set_default(&mut self, keyword: &str, value: &str) -> Result<(), ConnectError> {
        if self.get(keyword).is_some() { Ok(()) } else { self.set(keyword, value) }
    }

    /// Adds the environment's values of what is not set yet.
    pub(super) fn set_from_environment(&mut self, environment: &dyn Fn(&str) -> Option<String>) {
        for (word, variable, _) in KEYWORDS {
            if let Some(value) = variable.and_then(environment).filter(|value| !value.is_empty()) {
                self.words.entry(word).or_insert(value);
            }
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.words.iter().map(|(word, value)| (word, if *word == "password" { "***" } else { value }));
        f.debug_map().entries(shown).finish()
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        let access = Access::parse("host=h user=u password=geheim").unwrap();
        assert!(!format!("{access:?} {access}").contains("geheim"));
        assert_eq!(access.describe(), "host=h user=u");
    }

    #[test]
    fn words_are_read_back_without_the_password() {
        let access = Access::parse(r"host=/tmp user='o\'b rien\\' password=geheim port=1").unwrap();
        let mut wanted = access.clone();
        wanted.set("password", "").unwrap();
        assert_eq!(access.without_password(), r"dbname='' host='/tmp' port='1' user='o\'b rien\\'");
        assert_eq!(Access::parse(&access.without_password()).unwrap(), wanted);
    }

    #[test]
    fn words_that_would_weaken_a_connection_are_refused() {
        let error = Access::parse("host=h sslcrl=/x").unwrap_err().to_string();
        assert_eq!(error, "connection parameter \"sslcrl\" is not supported");
        assert!(Access::parse("host=h hots=x").is_err());
        assert!(Access::parse("host=h gssencmode=prefer client_encoding=latin1").is_ok());
    }

    #[test]
    fn what_is_set_wins_over_the_environment() {
        let mut access = Access::parse("host=h").unwrap();
        access.set_from_environment(&|name| match name {
            "PGHOST" => Some("other".into()),
            "PGPORT" => Some("6000".into()),
            _ => None,
        });
        assert_eq!(access.describe(), "host=h port=6000");
    }
}
