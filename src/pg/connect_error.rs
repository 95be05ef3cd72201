//! Why a connection could not be made, and what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bucardo_actors::model::Failure;

use super::classify::{causes, classify};

/// Why a connection could not be made. No message holds a password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The connection string or one of its values is wrong.
    #[error("{0}")]
    Conninfo(String),
    /// The service cannot be used.
    #[error("cannot use service \"{service}\": {why}")]
    Service {
        /// Its name.
        service: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file that the connection needs cannot be read.
    #[error("cannot read the {what} \"{}\"", path.display())]
    File {
        /// What the file is for.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A certificate or key is not what it should be.
    #[error("cannot use the {what} \"{}\": {why}", path.display())]
    Certificate {
        /// What the file is for.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is no way to the server, or nobody at its end.
    #[error("cannot connect to {place}")]
    Unreached {
        /// `host=… port=… dbname=… user=…`
        place: String,
        /// What the network said.
        source: io::Error,
    },
    /// The server refused, or went away while it was asked.
    #[error("cannot connect to {place}")]
    Refused {
        /// `host=… port=… dbname=… user=…`
        place: String,
        /// What the server or the network said.
        source: tokio_postgres::Error,
    },
    /// No answer within `connect_timeout`.
    #[error("cannot connect to {place}: no answer within {}", humantime::format_duration(*after))]
    Timeout {
        /// `host=… port=… dbname=… user=…`
        place: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The server answers, but is not of the kind that `target_session_attrs` asks for.
    #[error("{place} is not {wanted} (target_session_attrs)")]
    Unsuitable {
        /// `host=… port=… dbname=… user=…`
        place: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// Several hosts, or several ways to one host, were tried; none worked.
    #[error("{}", list(tried))]
    All {
        /// Why each did not.
        tried: Vec<ConnectError>,
    },
}

fn list(tried: &[ConnectError]) -> String {
    let mut told: Vec<String> = Vec::new();
    for text in tried.iter().map(|error| causes(error)) {
        if !told.contains(&text) {
            told.push(text);
        }
    }
    told.join("; then: ")
}

impl ConnectError {
    /// The one error, or all of them together.
    pub(super) fn all(mut tried: Vec<Self>) -> Self {
        match (tried.len(), tried.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                tried.extend(last);
                Self::All { tried }
            }
        }
    }

    /// Whether the same connection, tried again, may succeed without anyone's help.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Conninfo(_) | Self::Service { .. } | Self::File { .. } | Self::Certificate { .. } => {
                Failure::Permanent
            }
            Self::Refused { source, .. } if certificate_fault(source).is_some() => Failure::Permanent,
            Self::Refused { source, .. } => classify(source),
            Self::Unreached { .. } | Self::Timeout { .. } | Self::Unsuitable { .. } => Failure::Transient,
            Self::All { tried } if tried.iter().any(|error| error.failure() == Failure::Transient) => {
                Failure::Transient
            }
            Self::All { .. } => Failure::Permanent,
        }
    }

    /// What the operator can do, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Conninfo(_) | Self::Unsuitable { .. } => return None,
            Self::Service { .. } => {
                "services are looked for in ~/.pg_service.conf (or PGSERVICEFILE), then in PGSYSCONFDIR"
            }
            Self::File { .. } => "check that the file is there and that this account may read it",
            Self::Certificate { .. } => "certificates and keys are PEM files; keys must not be encrypted",
            Self::Timeout { .. } => "check host, port and firewall",
            Self::All { tried } => return tried.iter().rev().find_map(Self::hint),
            Self::Unreached { source, .. } => return unreached_hint(source.kind()).map(str::to_owned),
            Self::Refused { source, .. } => return refused_hint(source),
        };
        Some(hint.to_owned())
    }

    /// The server was reached and refused this way of connecting (not encrypted, or encrypted): another may do.
    pub(super) fn another_way_may_do(&self) -> bool {
        match self {
            Self::Refused { source, .. } => {
                tls_cause(source).is_some()
                    || is_tls(source)
                    || source.code().is_some_and(|state| state.code().starts_with("28"))
            }
            _ => false,
        }
    }
}

fn is_tls(error: &tokio_postgres::Error) -> bool {
    error.to_string().starts_with("error performing TLS handshake")
}

/// The fault of the TLS layer below `error`.
fn tls_cause(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let wrapped = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|wrapped| wrapped.downcast_ref::<rustls::Error>()) {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}

fn certificate_fault(error: &tokio_postgres::Error) -> Option<&rustls::CertificateError> {
    match tls_cause(error) {
        Some(rustls::Error::InvalidCertificate(fault)) => Some(fault),
        _ => None,
    }
}

fn refused_hint(error: &tokio_postgres::Error) -> Option<String> {
    use rustls::CertificateError as Fault;
    if let Some(fault) = certificate_fault(error) {
        return Some(match fault {
            Fault::UnknownIssuer => "the server's certificate is not signed by a certificate in sslrootcert".to_owned(),
            Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
                "the server's certificate is for another host name; connect by that name, or use sslmode=verify-ca"
                    .to_owned()
            }
            Fault::Expired | Fault::ExpiredContext { .. } => "the server's certificate has expired".to_owned(),
            _ => "check the server's certificate and sslrootcert".to_owned(),
        });
    }
    let hint = match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("28P01") => "check the password: the connection string, PGPASSWORD or the password file (.pgpass)",
        Some("28000") => "check the user name, that the role may log in (LOGIN), and pg_hba.conf on the server",
        Some("55000") => "the database lets nobody in: ALTER DATABASE … ALLOW_CONNECTIONS true",
        Some("3D000") => "check dbname, or create the database",
        Some("42501") => "the user needs the CONNECT privilege on the database",
        Some("53300") => "raise max_connections on the server, or close sessions",
        Some("57P03") => "the server is starting up or shutting down",
        Some(_) => return None,
        None => return unanswered_hint(error),
    };
    Some(hint.to_owned())
}

fn unreached_hint(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            Some("is the server running there, and does it accept connections on that port or socket?")
        }
        io::ErrorKind::PermissionDenied => Some("this account may not use the server's socket"),
        _ => None,
    }
}

fn unanswered_hint(error: &tokio_postgres::Error) -> Option<String> {
    let told = causes(error);
    if told.contains("password missing") {
        return Some(
            "the server asks for a password: give one, or add a line to the password file (.pgpass)".to_owned(),
        );
    }
    if told.contains("does not support TLS") {
        return Some("switch TLS on at the server, or use a weaker sslmode".to_owned());
    }
    None
}
