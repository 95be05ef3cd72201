//! The settings of mail.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::PasswordRef;

/// The recipient that is shipped: nobody.
const NOBODY: &str = "nobody@example.com";

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// Not at all.
    None,
    /// The server must offer STARTTLS, with a certificate that is right.
    Starttls,
    /// From the first byte (port 465).
    Tls,
}

/// `[mail]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailSettings {
    /// Mail is sent, if there is a recipient.
    pub send: bool,
    /// The sender; empty: this account at this host.
    pub from: String,
    /// Recipients, with commas between.
    pub to: String,
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// User there; empty: no authentication.
    pub auth_user: String,
    /// Its password.
    pub auth_pass: PasswordRef,
    /// The password may cross the network in clear.
    pub auth_plain: bool,
    /// A copy of each mail is appended here; empty: nowhere.
    pub debug_file: PathBuf,
    /// A link for mails about syncs; empty: none.
    pub stats_url: String,
    /// So many mails an hour at most; 0: no limit.
    pub hour_max: u32,
    /// What fails and is tried again is told of after this.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
    /// A mail server that takes longer is away.
    #[serde(with = "humantime_serde")]
    pub within: Duration,
}

impl Default for MailSettings {
    fn default() -> Self {
        Self {
            send: true,
            from: String::new(),
            to: NOBODY.to_owned(),
            host: "localhost".to_owned(),
            port: 25,
            tls: MailTls::None,
            auth_user: String::new(),
            auth_pass: PasswordRef::default(),
            auth_plain: false,
            debug_file: PathBuf::new(),
            stats_url: String::new(),
            hour_max: 10,
            patience: Duration::from_secs(300),
            within: Duration::from_secs(20),
        }
    }
}

impl MailSettings {
    /// Whether mail goes to a server.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.send && !self.to.trim().is_empty() && !self.to.trim().eq_ignore_ascii_case(NOBODY)
    }

    /// Whether mail is written at all, if only to a file.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_sent() || !self.debug_file.as_os_str().is_empty()
    }

    /// Whether the password would cross a network that others may listen to, and nobody has allowed that.
    #[must_use]
    pub fn tells_password(&self) -> bool {
        let here = match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        };
        !self.auth_user.is_empty() && self.tls == MailTls::None && !self.auth_plain && !here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_goes_where_somebody_is_named() {
        let to = |to: &str| MailSettings { to: to.to_owned(), ..MailSettings::default() };
        assert!(!MailSettings::default().is_on());
        assert!(!to(" ").is_sent() && !to("Nobody@Example.com").is_sent());
        assert!(to("dba@here").is_sent());
        assert!(!MailSettings { send: false, ..to("dba@here") }.is_on());
        let filed = MailSettings { debug_file: "/tmp/x".into(), ..MailSettings::default() };
        assert!(filed.is_on() && !filed.is_sent());
    }

    #[test]
    fn a_password_in_clear_stays_on_this_machine_unless_it_is_allowed_out() {
        let login = |host: &str| MailSettings {
            host: host.to_owned(),
            auth_user: "me".to_owned(),
            auth_pass: PasswordRef::new("geheim"),
            ..MailSettings::default()
        };
        for here in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(!login(here).tells_password(), "{here}");
        }
        for there in ["mail.example.org", "192.0.2.1", "2001:db8::1", "127.1", "localhost.example.org", ""] {
            assert!(login(there).tells_password(), "{there}");
            assert!(!MailSettings { auth_user: String::new(), ..login(there) }.tells_password());
            assert!(!MailSettings { auth_plain: true, ..login(there) }.tells_password());
            assert!(!MailSettings { tls: MailTls::Tls, ..login(there) }.tells_password());
            assert!(!MailSettings { tls: MailTls::Starttls, ..login(there) }.tells_password());
        }
    }
}
