//! From what an [`Access`] says to what a connection needs: service file, environment and defaults applied,
//! values checked, one [`Place`] per host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, SslNegotiation};

use super::access::Access;
use super::connect_error::ConnectError;
use super::passfile::{self, Wanted};
use super::service;

/// Where Debian's servers and libpq put their sockets.
const SOCKET_DIR: &str = "/var/run/postgresql";
const PORT: u16 = 5432;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A cut network is noticed after idle + interval × count = 25 s, or after 120 s with data under way. The latter also
/// ends a connection whose peer lives but takes nothing for so long.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_COUNT: u32 = 3;
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(120);

/// `sslmode` (manual, "SSL Mode Descriptions").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// `target_session_attrs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// One host to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Host name, numeric address, or the folder of a socket.
    pub host: String,
    /// Used instead of looking `host` up.
    pub hostaddr: Option<std::net::IpAddr>,
    pub port: u16,
    pub password: Option<String>,
}

impl Place {
    pub(super) fn is_socket(&self) -> bool {
        self.hostaddr.is_none() && self.host.starts_with('/')
    }
}

/// Where the certificates are.
#[derive(Clone, Debug, Default)]
pub(super) struct Certificates {
    /// `sslrootcert`: a file, or `system`.
    pub root: Option<PathBuf>,
    /// `sslcert` and `sslkey`.
    pub client: Option<(PathBuf, PathBuf)>,
    /// `ssl_min_protocol_version` asks for TLS 1.3.
    pub tls13_only: bool,
}

/// Everything that a connection needs.
#[derive(Clone)]
pub(super) struct Resolved {
    pub places: Vec<Place>,
    pub dbname: String,
    pub user: String,
    pub options: Option<String>,
    pub application_name: String,
    pub connect_timeout: Option<Duration>,
    pub ssl: SslMode,
    pub ssl_negotiation: SslNegotiation,
    pub certificates: Certificates,
    pub channel_binding: ChannelBinding,
    pub session: Session,
    pub shuffle: bool,
    /// Idle, interval and count; `None`: no keepalives.
    pub keepalives: Option<(Duration, Duration, u32)>,
    pub tcp_user_timeout: Option<Duration>,
}

/// Applies service file, environment and defaults, and checks every value.
pub(super) fn resolve(access: &Access, application_name: &str) -> Result<Resolved, ConnectError> {
    let environment = |name: &str| std::env::var(name).ok();
    resolve_with(access, application_name, &Surroundings { environment: &environment, account: account() })
}

/// What the process finds around it; tests bring their own.
struct Surroundings<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    account: Account,
}

/// The account that the process runs as.
#[derive(Clone, Debug, Default)]
struct Account {
    name: Option<String>,
    home: Option<PathBuf>,
}

fn account() -> Account {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|line| line.get(2) == Some(&&*uid));
    let field = |at: usize| line.as_ref().and_then(|line| line.get(at)).map(|field| (*field).to_owned());
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Account {
        name: field(0).or_else(|| variable("USER")).or_else(|| variable("LOGNAME")),
        home: variable("HOME").or_else(|| field(5)).map(PathBuf::from),
    }
}

fn resolve_with(access: &Access, application_name: &str, around: &Surroundings<'_>) -> Result<Resolved, ConnectError> {
    let mut access = access.clone();
    let home = around.account.home.as_deref();
    service::apply(&mut access, home, around.environment)?;
    access.set_from_environment(around.environment);
    let words = Words(&access);

    let Some(user) = access.get("user").map(str::to_owned).or_else(|| around.account.name.clone()) else {
        return Err(ConnectError::Conninfo("no user name is given and the account has none".to_owned()));
    };
    let dbname = access.get("dbname").unwrap_or(&user).to_owned();
    let mut places = places(&access)?;
    let passfile = access.get("passfile").map(PathBuf::from).or_else(|| home.map(|home| home.join(".pgpass")));
    for place in &mut places {
        let host = if place.is_socket() && place.host == SOCKET_DIR { "localhost" } else { &place.host };
        let wanted = Wanted { host, port: place.port, dbname: &dbname, user: &user };
        let found = || passfile.as_deref().and_then(|file| passfile::lookup(file, wanted));
        place.password = access.get("password").map(str::to_owned).or_else(found);
    }

    let certificates = certificates(&access, home)?;
    let system_roots = certificates.root.as_deref() == Some(Path::new("system"));
    let ssl = match access.get("sslmode") {
        None if system_roots => SslMode::VerifyFull,
        None => SslMode::Prefer,
        Some(_) => words.choice(
            "sslmode",
            &[
                ("disable", SslMode::Disable),
                ("allow", SslMode::Allow),
                ("prefer", SslMode::Prefer),
                ("require", SslMode::Require),
                ("verify-ca", SslMode::VerifyCa),
                ("verify-full", SslMode::VerifyFull),
            ],
        )?,
    };
    if system_roots && ssl != SslMode::VerifyFull {
        return Err(ConnectError::Conninfo("sslrootcert=system needs sslmode=verify-full".to_owned()));
    }
    let ssl_negotiation = words
        .choice("sslnegotiation", &[("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)])?;
    if ssl_negotiation == SslNegotiation::Direct && matches!(ssl, SslMode::Disable | SslMode::Allow | SslMode::Prefer) {
        return Err(ConnectError::Conninfo("sslnegotiation=direct needs sslmode=require or stronger".to_owned()));
    }
    let keepalives = if words.number("keepalives")? == Some(0) {
        None
    } else {
        let count = words.number("keepalives_count")?.and_then(|count| u32::try_from(count).ok());
        Some((
            words.seconds("keepalives_idle")?.unwrap_or(KEEPALIVE_IDLE),
            words.seconds("keepalives_interval")?.unwrap_or(KEEPALIVE_INTERVAL),
            count.filter(|count| *count > 0).unwrap_or(KEEPALIVE_COUNT),
        ))
    };
    let tcp_user_timeout = match words.number("tcp_user_timeout")? {
        Some(milliseconds) => u64::try_from(milliseconds).ok().filter(|n| *n > 0).map(Duration::from_millis),
        None => Some(TCP_USER_TIMEOUT),
    };
    Ok(Resolved {
        places,
        dbname,
        user,
        options: access.get("options").map(str::to_owned),
        application_name: access.get("application_name").unwrap_or(application_name).to_owned(),
        connect_timeout: match words.number("connect_timeout")? {
            Some(seconds) => u64::try_from(seconds).ok().filter(|n| *n > 0).map(Duration::from_secs),
            None => Some(CONNECT_TIMEOUT),
        },
        ssl,
        ssl_negotiation,
        certificates,
        channel_binding: words.choice(
            "channel_binding",
            &[
                ("prefer", ChannelBinding::Prefer),
                ("disable", ChannelBinding::Disable),
                ("require", ChannelBinding::Require),
            ],
        )?,
        session: words.choice(
            "target_session_attrs",
            &[
                ("any", Session::Any),
                ("read-write", Session::ReadWrite),
                ("read-only", Session::ReadOnly),
                ("primary", Session::Primary),
                ("standby", Session::Standby),
                ("prefer-standby", Session::PreferStandby),
            ],
        )?,
        shuffle: words.choice("load_balance_hosts", &[("disable", false), ("random", true)])?,
        keepalives,
        tcp_user_timeout,
    })
}

fn places(access: &Access) -> Result<Vec<Place>, ConnectError> {
    let list = |word: &str| -> Vec<&str> { access.get(word).map(|text| text.split(',').collect()).unwrap_or_default() };
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = hosts.len().max(addresses.len()).max(1);
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(ConnectError::Conninfo(format!("{} hosts but {} hostaddrs", hosts.len(), addresses.len())));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(ConnectError::Conninfo(format!("{} ports for {count} hosts", ports.len())));
    }
    let place = |at: usize| {
        let address = addresses.get(at).map(|text| text.trim()).filter(|text| !text.is_empty());
        let hostaddr = match address.map(str::parse) {
            None => None,
            Some(Ok(address)) => Some(address),
            Some(Err(_)) => {
                return Err(ConnectError::Conninfo(format!("invalid hostaddr \"{}\"", addresses[at])));
            }
        };
        let port = ports.get(at).or(ports.first()).map(|text| text.trim()).filter(|text| !text.is_empty());
        let port = match port.map(str::parse) {
            None => PORT,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err(ConnectError::Conninfo(format!("invalid port \"{}\"", port.unwrap_or_default()))),
        };
        let host = hosts.get(at).map(|text| text.trim()).filter(|text| !text.is_empty());
        let host = host.or(address).unwrap_or(SOCKET_DIR).to_owned();
        Ok(Place { host, hostaddr, port, password: None })
    };
    (0..count).map(place).collect()
}

/// Names the files that are given, or the ones of `~/.postgresql` that are there.
fn certificates(access: &Access, home: Option<&Path>) -> Result<Certificates, ConnectError> {
    let dir = home.map(|home| home.join(".postgresql"));
    let file = |word: &str, name: &str| {
        let usual = || dir.as_ref().map(|dir| dir.join(name)).filter(|file| file.is_file());
        access.get(word).map(PathBuf::from).or_else(usual)
    };
    let client = match (file("sslcert", "postgresql.crt"), file("sslkey", "postgresql.key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(certificate), None) => {
            return Err(ConnectError::Conninfo(format!(
                "certificate \"{}\" has no private key: set sslkey",
                certificate.display()
            )));
        }
        (None, _) => None,
    };
    let tls13_only = Words(access).choice(
        "ssl_min_protocol_version",
        &[("TLSv1.2", false), ("TLSv1.3", true), ("TLSv1.1", false), ("TLSv1", false)],
    )?;
    Ok(Certificates { root: file("sslrootcert", "root.crt"), client, tls13_only })
}

/// Values as what they should be.
struct Words<'a>(&'a Access);

impl Words<'_> {
    fn number(&self, word: &str) -> Result<Option<i64>, ConnectError> {
        let parsed = self.0.get(word).map(|text| text.trim().parse().map_err(|_| self.invalid(word)));
        parsed.transpose()
    }

    /// Whole seconds; zero and less mean the default.
    fn seconds(&self, word: &str) -> Result<Option<Duration>, ConnectError> {
        let number = self.number(word)?.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(number.filter(|seconds| *seconds > 0).map(Duration::from_secs))
    }

    /// One of the named values; the first is the default.
    fn choice<T: Copy>(&self, word: &str, choices: &[(&str, T)]) -> Result<T, ConnectError> {
        let value = self.0.get(word).unwrap_or(choices[0].0);
        let found = choices.iter().find(|(name, _)| *name == value);
        found.map(|(_, choice)| *choice).ok_or_else(|| self.invalid(word))
    }

    fn invalid(&self, word: &str) -> ConnectError {
        ConnectError::Conninfo(format!("invalid {word} value: \"{}\"", self.0.get(word).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(conninfo: &str, environment: &[(&str, &str)]) -> Result<Resolved, ConnectError> {
        let lookup =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let account = Account { name: Some("me".to_owned()), home: None };
        resolve_with(&Access::parse(conninfo).unwrap(), "bucardo", &Surroundings { environment: &lookup, account })
    }

    #[test]
    fn defaults_are_those_of_libpq_on_debian() {
        let found = resolved("", &[]).unwrap();
        let place = Place { host: SOCKET_DIR.to_owned(), hostaddr: None, port: 5432, password: None };
        assert_eq!(found.places, [place]);
        assert_eq!((&*found.user, &*found.dbname), ("me", "me"));
        assert_eq!(found.ssl, SslMode::Prefer);
    }

    #[test]
    fn hosts_and_ports_go_together() {
        let found = resolved("host=a,b,/tmp port=1,2,3 password=p", &[("PGDATABASE", "d")]).unwrap();
        let places: Vec<_> = found.places.iter().map(|place| (&*place.host, place.port, place.is_socket())).collect();
        assert_eq!(places, [("a", 1, false), ("b", 2, false), ("/tmp", 3, true)]);
        assert_eq!(found.dbname, "d");
        assert!(resolved("host=a,b port=1,2,3", &[]).is_err());
        assert!(resolved("host=a port=70000", &[]).is_err());
        assert_eq!(resolved("hostaddr=::1", &[]).unwrap().places[0].host, "::1");
    }

    #[test]
    fn values_are_checked_and_named() {
        let error = resolved("sslmode=perhaps", &[]).err().unwrap().to_string();
        assert_eq!(error, "invalid sslmode value: \"perhaps\"");
        assert!(resolved("connect_timeout=soon", &[]).is_err());
        assert_eq!(resolved("connect_timeout=0", &[]).unwrap().connect_timeout, None);
    }

    #[test]
    fn system_roots_demand_full_verification() {
        assert_eq!(resolved("sslrootcert=system", &[]).unwrap().ssl, SslMode::VerifyFull);
        assert!(resolved("sslrootcert=system sslmode=require", &[]).is_err());
    }
}
