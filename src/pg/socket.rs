//! The socket below a connection, with or without TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pieces::{Cuts, Pieces};
use super::resolve::{Place, Resolved};

/// A connect that is given no limit of its own ends after this time, as the network's own takes minutes.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A socket of either kind.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

type Connect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type Encrypted = <Connect as TlsConnect<Socket>>::Stream;

/// How a server is reached: kept by a connection, as a cancel request goes the same way.
pub(super) struct Way {
    host: String,
    address: Option<std::net::IpAddr>,
    port: u16,
    within: Duration,
    keepalives: Option<(Duration, Duration, u32)>,
    tcp_user_timeout: Option<Duration>,
    /// Whether the server answers a question for TLS before anything else.
    asks: bool,
    connector: MakeRustlsConnect,
}

impl Way {
    pub(super) fn new(resolved: &Resolved, place: &Place, mode: SslMode, connector: &MakeRustlsConnect) -> Self {
        Self {
            host: place.host.clone(),
            address: place.hostaddr,
            port: place.port,
            within: resolved.connect_timeout.unwrap_or(CONNECT_WITHIN),
            keepalives: resolved.keepalives,
            tcp_user_timeout: resolved.tcp_user_timeout,
            asks: mode != SslMode::Disable && resolved.ssl_negotiation == SslNegotiation::Postgres,
            connector: connector.clone(),
        }
    }

    /// Opens a socket; `cuts` says whether long rows that come from it are cut.
    pub(super) async fn open(&self, cuts: Cuts) -> io::Result<Pieces<Socket>> {
        let opened = timeout(self.within, self.socket()).await;
        let socket = opened.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connection timed out"))??;
        Ok(Pieces::new(socket, cuts, usize::from(self.asks)))
    }

    async fn socket(&self) -> io::Result<Socket> {
        if self.address.is_none() && self.host.starts_with('/') {
            let path = format!("{}/.s.PGSQL.{}", self.host, self.port);
            return Ok(Socket::Unix(UnixStream::connect(path).await?));
        }
        let stream = match self.address {
            Some(address) => TcpStream::connect((address, self.port)).await?,
            None => TcpStream::connect((self.host.as_str(), self.port)).await?,
        };
        stream.set_nodelay(true)?;
        if let Some(after) = self.tcp_user_timeout {
            let milliseconds = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
            sockopt::set_tcp_user_timeout(&stream, milliseconds)?;
        }
        if let Some((idle, interval, count)) = self.keepalives {
            sockopt::set_socket_keepalive(&stream, true)?;
            sockopt::set_tcp_keepidle(&stream, idle)?;
            sockopt::set_tcp_keepintvl(&stream, interval)?;
            sockopt::set_tcp_keepcnt(&stream, count)?;
        }
        Ok(Socket::Tcp(stream))
    }

    /// What turns the socket into an encrypted one, where the driver asks for that.
    pub(super) fn encryption(&self) -> Encryption {
        let Ok(connect) = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.connector.clone(), &self.host);
        Encryption(connect)
    }
}

/// Encrypts below the cutting of rows.
pub(super) struct Encryption(Connect);

impl TlsConnect<Pieces<Socket>> for Encryption {
    type Stream = Pieces<Encrypted>;
    type Error = <Connect as TlsConnect<Socket>>::Error;
    type Future = futures_util::future::BoxFuture<'static, Result<Self::Stream, Self::Error>>;

    fn connect(self, stream: Pieces<Socket>) -> Self::Future {
        let (socket, cuts) = stream.into_inner();
        Box::pin(async move { Ok(Pieces::new(self.0.connect(socket).await?, cuts, 0)) })
    }
}
