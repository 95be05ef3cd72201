//! Making a connection: hosts in turn, each with and without TLS as `sslmode` allows, until one fits.

use tokio_postgres::config::SslMode as WireMode;
use tokio_postgres::{Config, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::access::Access;
use super::connect_error::ConnectError;
use super::connection::{Connection, Server};
use super::pieces::Cuts;
use super::resolve::{Place, Resolved, Session, SslMode, resolve};
use super::socket::Way;
use super::{SqlFile, tls};

const SESSION: SqlFile = SqlFile::new(include_str!("../../sql/pg/session.sql"));

/// Connects as `access` says and sets the session; see `sql/pg/session.sql`.
///
/// `application_name` is what the server shows, unless `access` sets another. Dropping the future closes
/// what was opened.
///
/// # Errors
///
/// [`ConnectError`], with every host that was tried.
pub async fn connect(access: &Access, application_name: &str) -> Result<Connection, ConnectError> {
    let mut connection = open(access, application_name).await?;
    connection.count(access);
    Ok(connection)
}

async fn open(access: &Access, application_name: &str) -> Result<Connection, ConnectError> {
    let resolved = resolve(access, application_name)?;
    let connector = tls::connector(resolved.ssl, &resolved.certificates)?;
    let mut places: Vec<&Place> = resolved.places.iter().collect();
    if resolved.shuffle {
        shuffle(&mut places);
    }
    let mut tried = Vec::new();
    for place in &places {
        match connect_place(&resolved, place, &connector).await {
            Ok((connection, facts)) => match facts.unsuitable(resolved.session) {
                None => return Ok(connection),
                Some(wanted) => tried.push(ConnectError::Unsuitable { place: told(&resolved, place), wanted }),
            },
            Err(error) => tried.push(error),
        }
    }
    if resolved.session == Session::PreferStandby {
        for place in &places {
            match connect_place(&resolved, place, &connector).await {
                Ok((connection, _)) => return Ok(connection),
                Err(error) => tried.push(error),
            }
        }
    }
    Err(ConnectError::all(tried))
}

/// A different order for every call; which one is of no importance, so the clock is random enough.
fn shuffle<T>(items: &mut [T]) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut seed = u64::from(now.subsec_nanos()) | 1;
    for last in (1..items.len()).rev() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let other = usize::try_from(seed % (last as u64 + 1)).unwrap_or(0);
        items.swap(last, other);
    }
}

async fn connect_place(
    resolved: &Resolved,
    place: &Place,
    connector: &MakeRustlsConnect,
) -> Result<(Connection, Facts), ConnectError> {
    const PLAIN: WireMode = WireMode::Disable;
    let modes: &[WireMode] = match resolved.ssl {
        _ if place.is_socket() => &[PLAIN],
        SslMode::Disable => &[PLAIN],
        SslMode::Allow => &[PLAIN, WireMode::Require],
        SslMode::Prefer => &[WireMode::Prefer, PLAIN],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[WireMode::Require],
    };
    let mut tried = Vec::new();
    for mode in modes {
        let error = match connect_once(resolved, place, *mode, connector).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let go_on = error.another_way_may_do();
        tried.push(error);
        if !go_on {
            break;
        }
    }
    Err(ConnectError::all(tried))
}

async fn connect_once(
    resolved: &Resolved,
    place: &Place,
    mode: WireMode,
    connector: &MakeRustlsConnect,
) -> Result<(Connection, Facts), ConnectError> {
    let config = config(resolved, place, mode);
    let refused = |source| ConnectError::Refused { place: told(resolved, place), source };
    let way = Way::new(resolved, place, mode, connector);
    let attempt = async {
        let cuts = Cuts::default();
        let socket = way.open(Cuts::clone(&cuts)).await;
        let socket = socket.map_err(|source| ConnectError::Unreached { place: told(resolved, place), source })?;
        let (client, driver) = Box::pin(config.connect_raw(socket, way.encryption())).await.map_err(refused)?;
        let mut connection = Connection::start((client, driver), cuts, way);
        let messages = connection.simple_query(SESSION.text()).await.map_err(refused)?;
        let facts = Facts::read(&messages);
        connection.know(facts.server);
        Ok((connection, facts))
    };
    match resolved.connect_timeout {
        None => attempt.await,
        Some(after) => match tokio::time::timeout(after, attempt).await {
            Ok(done) => done,
            Err(_) => Err(ConnectError::Timeout { place: told(resolved, place), after }),
        },
    }
}

fn config(resolved: &Resolved, place: &Place, mode: WireMode) -> Config {
    let mut config = Config::new();
    config
        .user(&resolved.user)
        .dbname(&resolved.dbname)
        .application_name(&resolved.application_name)
        .ssl_mode(mode)
        .ssl_negotiation(resolved.ssl_negotiation)
        .channel_binding(resolved.channel_binding);
    if let Some(password) = &place.password {
        config.password(password);
    }
    if let Some(options) = &resolved.options {
        config.options(options);
    }
    config
}

fn told(resolved: &Resolved, place: &Place) -> String {
    format!("host={} port={} dbname={} user={}", place.host, place.port, resolved.dbname, resolved.user)
}

/// What the server says of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    server: Server,
    read_only: bool,
    standby: bool,
}

impl Facts {
    fn read(messages: &[SimpleQueryMessage]) -> Self {
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let Some(row) = row else { return Self::default() };
        let text = |row: &SimpleQueryRow, column: &str| row.try_get(column).ok().flatten().unwrap_or("").to_owned();
        Self {
            server: Server {
                version: text(row, "server_version_num").parse().unwrap_or(0),
                backend_pid: text(row, "backend_pid").parse().unwrap_or(0),
            },
            read_only: text(row, "read_only_before") == "on",
            standby: text(row, "standby") == "t",
        }
    }

    /// What the session is not, though it was asked for.
    fn unsuitable(self, wanted: Session) -> Option<&'static str> {
        let read_only = self.read_only || self.standby;
        let (fits, name) = match wanted {
            Session::Any => (true, ""),
            Session::ReadWrite => (!read_only, "read-write"),
            Session::ReadOnly => (read_only, "read-only"),
            Session::Primary => (!self.standby, "a primary"),
            Session::Standby | Session::PreferStandby => (self.standby, "a standby"),
        };
        (!fits).then_some(name)
    }
}
