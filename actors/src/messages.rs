//! Every message between actors, and from the daemon to the MCP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::board::ActorId;
use crate::lifeline::Key;
use crate::model::{DbName, KidId, Reason, RoundReport, SyncName, SyncPlan};
use crate::outbox::Answer;
use crate::policy::{Exit, Settings};

/// To the MCP: look at this sync.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Kick {
    /// Which sync.
    pub sync: SyncName,
    /// Who asks.
    pub reason: Reason,
}

/// To the MCP: the listener of this database is (again) connected. What it would have said meanwhile is lost, so
/// every sync that reads there is looked at.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct KickDb {
    /// Which database.
    pub db: DbName,
}

/// To the MCP: the control database is listened to again. What was asked for meanwhile was not heard, so the catalog,
/// where it was noted, is read again.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct ControlHeard;

/// To the MCP: read the catalog again and apply the difference.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Reload;

/// To the MCP: read the settings again.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct ReloadConfig;

/// To the MCP: read one sync again, replace its KIDs and end its pause.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ReloadSync {
    /// Which sync.
    pub sync: SyncName,
}

/// What an operator wants of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Run it, and after a restart of the daemon too.
    Activate,
    /// Do not run it, and after a restart of the daemon neither.
    Deactivate,
    /// Start no rounds until resumed or restarted.
    Pause,
    /// Go on.
    Resume,
}

/// To the MCP: the intent for a sync has changed.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SetState {
    /// Which sync.
    pub sync: SyncName,
    /// What is wanted.
    pub wish: Wish,
}

/// To the MCP: somebody outside wants to know whether it lives.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct McpPing;

/// To the MCP, and from it to a CTL: somebody outside wants to know whether this actor lives. It is asked, and its answer
/// goes out; an actor that does not answer, or is not there, gives none.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct PingActor {
    /// Which actor.
    pub id: ActorId,
}

/// To the MCP: start no more rounds, let running ones finish within `grace`, then end.
/// A second one cancels what still runs.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Shutdown {
    /// How long running rounds may take.
    pub grace: Duration,
}

/// To the MCP: the stop file is there. As [`Shutdown`], but whoever makes the file also sends a signal: the two, in
/// whatever order they come, are one request.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StopFileFound {
    /// How long running rounds may take.
    pub grace: Duration,
}

/// To the MCP and the VAC: look for delivered changes to purge.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct PurgeNow;

/// To the MCP: somebody found that this database does not answer. Who works with it looks.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct CheckDb {
    /// Which database.
    pub db: DbName,
}

/// To the MCP: end what the VAC does. It begins anew after a while.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StopVac;

/// From a parent to its child: are you alive, does your work move?
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Pong")]
pub struct Ping;

/// The answer to a [`Ping`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pong {
    /// Work is under way.
    pub busy: bool,
    /// Grows with every step and batch.
    pub work_done: u64,
    /// The step that is running.
    pub doing: String,
}

/// From a parent to its child: finish what runs within `grace`, then end.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop {
    /// How long running work may take.
    pub grace: Duration,
}

/// From a child's lifeline to its parent: the child ended.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ChildExited<K: Key> {
    /// Which child.
    pub key: K,
    /// Which incarnation of it.
    pub generation: u64,
    /// Why.
    pub exit: Exit,
}

/// From the MCP to a CTL: look at your sync.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Look {
    pub(crate) reason: Reason,
    /// KIDs that wait for a restart or are stalled are tried at once.
    pub(crate) retry: bool,
    /// Who is told how it went.
    pub(crate) answer: Answer,
}

/// From the MCP to a CTL: try KIDs that wait or are stalled at once.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Retry {
    /// Only those that could not reach this database.
    pub(crate) db: Option<DbName>,
}

/// From a CTL that is not to stay to the MCP: there is nothing to do.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Rest {
    pub(crate) sync: SyncName,
    pub(crate) generation: u64,
}

/// From a CTL that leaves to the MCP: a KID in trouble has left work behind.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Undone(pub(crate) SyncName);

/// From the MCP to a CTL: end as soon as what you have is done. There will be no more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Leave {
    /// Another one takes over, so it has to; else it was only idle, and answers [`Stays`] if it no longer is.
    pub(crate) worn_out: bool,
}

/// From a CTL that was to leave to the MCP: work came before that, so it stays, and takes kicks again.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stays {
    pub(crate) sync: SyncName,
    pub(crate) generation: u64,
}

/// From a CTL to the MCP: a database that was stalled can be reached again.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct DbBack(pub(crate) DbName);

/// From the MCP to a CTL: the plan or the settings have changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Replan {
    pub(crate) plan: SyncPlan,
    pub(crate) kids: BTreeSet<KidId>,
    pub(crate) settings: Arc<Settings>,
    /// Replace the KIDs even if nothing seems to have changed.
    pub(crate) renew: bool,
}

/// From the MCP to a CTL: whether rounds may start.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Brake {
    /// An operator has paused the sync.
    pub(crate) paused: bool,
    /// The lease is lost.
    pub(crate) held: bool,
}

/// From the MCP to the VAC: the settings, and whether it may purge.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Tune {
    pub(crate) settings: Arc<Settings>,
    pub(crate) held: bool,
}

/// From a CTL to a KID: go; one at a time.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RunRound {
    pub(crate) reason: Reason,
}

/// From a KID to its CTL: a round has ended well. A failed one ends its KID.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RoundEnded {
    pub(crate) kid: KidId,
    pub(crate) generation: u64,
    pub(crate) report: RoundReport,
}
