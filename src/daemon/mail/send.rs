//! A mail on its way: to the file of copies, to the mail server.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;

use lettre::message::header::{ContentType, HeaderName, HeaderValue, To};
use lettre::message::{Mailbox, Mailboxes};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::alerts::Letter;
use crate::config::{MailSettings, MailTls};

/// Why a mail was not sent. No text holds a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum MailError {
    #[error("{setting} \"{value}\" is no mail address")]
    Address { setting: &'static str, value: String, source: lettre::address::AddressError },
    #[error("email_auth_pass: {0}")]
    Password(String),
    #[error("the password of email_auth_user would cross the network to mail server \"{place}\" in clear")]
    InClear { place: String },
    #[error("cannot write the mail")]
    Message(#[from] lettre::error::Error),
    #[error("mail server \"{place}\"")]
    Server { place: String, source: smtp::Error },
    #[error("mail server \"{place}\" does not answer within {within:?}")]
    Slow { place: String, within: std::time::Duration },
    #[error("sending was cut short")]
    CutShort,
}

impl MailError {
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Address { .. } => "correct it with \"bucardo set\", then: bucardo reload config",
            Self::Password(_) => {
                "it is a password, file:PATH, env:NAME, or text: and a password that begins like these"
            }
            Self::InClear { .. } => {
                "set email_tls to starttls or tls (port 465); where nobody listens in, email_auth_plain=1 allows it"
            }
            _ => "see default_email_host, default_email_port, email_tls and email_auth_user",
        }
    }
}

/// The sender where nobody has set one.
fn from(settings: &MailSettings, host: &str) -> String {
    if !settings.from.trim().is_empty() {
        return settings.from.clone();
    }
    let account = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| !name.is_empty());
    format!("{}@{host}", account.as_deref().unwrap_or("bucardo"))
}

fn message(settings: &MailSettings, host: &str, letter: &Letter) -> Result<Message, MailError> {
    let address = |setting, value: &str| {
        let value = value.to_owned();
        move |source| MailError::Address { setting, value, source }
    };
    let sender = from(settings, host);
    let sender: Mailbox = sender.parse().map_err(address("default_email_from", &sender))?;
    let to: Mailboxes = settings.to.parse().map_err(address("default_email_to", &settings.to))?;
    // So that nobody's holiday notice answers.
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let builder = Message::builder().from(sender).mailbox(To::from(to)).subject(letter.subject.clone()).date_now();
    let builder = builder.raw_header(automatic).header(ContentType::TEXT_PLAIN);
    Ok(builder.body(letter.body.clone())?)
}

/// Sends a mail; bounded by `within` of the settings.
pub(super) async fn send(settings: &MailSettings, host: &str, letter: &Letter) -> Result<(), MailError> {
    let place = format!("{}:{}", settings.host, settings.port);
    let message = message(settings, host, letter)?;
    let failed = |source| MailError::Server { place: place.clone(), source };
    let tls = || TlsParameters::new(settings.host.clone()).map_err(failed);
    let tls = match settings.tls {
        MailTls::None => Tls::None,
        MailTls::Starttls => Tls::Required(tls()?),
        MailTls::Tls => Tls::Wrapper(tls()?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
        .port(settings.port)
        .hello_name(ClientId::Domain(host.to_owned()))
        .timeout(Some(settings.within))
        .tls(tls);
    if settings.tells_password() {
        return Err(MailError::InClear { place });
    }
    if !settings.auth_user.is_empty() {
        let password = settings.auth_pass.resolve().map_err(MailError::Password)?;
        builder = builder.credentials(Credentials::new(settings.auth_user.clone(), password));
    }
    let transport = builder.build();
    match tokio::time::timeout(settings.within, transport.send(message)).await {
        Ok(sent) => sent.map(drop).map_err(failed),
        Err(_) => Err(MailError::Slow { place, within: settings.within }),
    }
}

/// Appends a copy to the file of copies, if there is one: a line `=`, To, From, Subject, Date, the body.
pub(super) fn copy(settings: &MailSettings, host: &str, letter: &Letter, now: SystemTime) -> io::Result<()> {
    if settings.debug_file.as_os_str().is_empty() {
        return Ok(());
    }
    let date = chrono::DateTime::<chrono::Local>::from(now).to_rfc2822();
    let text = format!(
        "{}\nTo: {}\nFrom: {}\nSubject: {}\nDate: {date}\n\n{}\n",
        "=".repeat(60),
        settings.to,
        from(settings, host),
        letter.subject,
        letter.body
    );
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&settings.debug_file)?;
    file.write_all(text.as_bytes())
}
