//! A network that fails on request: a TCP proxy between the program and a server.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PIECE_BYTES: usize = 16 * 1024;
/// Between two pieces on a slow network.
const SLOW_PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    /// Bytes pass.
    Open,
    /// Bytes pass, some 800 kB a second and connection.
    Slow,
    /// Bytes are held back, both ways; connections stay open, and new ones get no answer.
    Stalled,
    /// Connections are refused.
    Cut,
}

/// Listens on a port of 127.0.0.1 and passes everything on to another; dropping it closes every connection.
pub(crate) struct Proxy {
    port: u16,
    network: Arc<watch::Sender<Network>>,
    generation: Arc<watch::Sender<u64>>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of `port` of 127.0.0.1.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let network = Arc::new(watch::Sender::new(Network::Open));
        let generation = Arc::new(watch::Sender::new(0));
        let (states, generations) = (network.clone(), generation.clone());
        let listener = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *states.borrow() != Network::Cut {
                    tokio::spawn(carry(near, port, states.subscribe(), generations.subscribe()));
                }
            }
        });
        Self { port: own_port, network, generation, listener }
    }

    /// Where to connect instead.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Closes every connection; new ones pass.
    pub(crate) fn cut_once(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Closes every connection and every new one until [`Self::open`].
    pub(crate) fn cut(&self) {
        self.network.send_replace(Network::Cut);
        self.cut_once();
    }

    /// Holds all bytes back until [`Self::open`], as a network does that drops packets: nobody is told.
    pub(crate) fn stall(&self) {
        self.network.send_replace(Network::Stalled);
    }

    /// Lets bytes pass slowly.
    pub(crate) fn slow(&self) {
        self.network.send_replace(Network::Slow);
    }

    /// Lets bytes and connections pass.
    pub(crate) fn open(&self) {
        self.network.send_replace(Network::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut_once();
    }
}

async fn carry(
    mut near: TcpStream,
    port: u16,
    states: watch::Receiver<Network>,
    mut generations: watch::Receiver<u64>,
) {
    generations.mark_unchanged();
    let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let (near_in, near_out) = near.split();
    let (far_in, far_out) = far.split();
    // Whichever comes first; leaving closes both sides.
    tokio::select! {
        () = pass(near_in, far_out, states.clone()) => {}
        () = pass(far_in, near_out, states) => {}
        _ = generations.changed() => {}
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut states: watch::Receiver<Network>,
) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if *states.borrow() == Network::Slow {
            tokio::time::sleep(SLOW_PAUSE).await;
        }
        let open = states.wait_for(|state| *state != Network::Stalled).await.is_ok();
        if !open || to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
