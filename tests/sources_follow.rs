//! A target of several sources follows one of them, and another when that is away.

use std::sync::Arc;

use bucardo::catalog::{Role, SyncDetail};
use bucardo::engine::FollowSession;
use bucardo_actors::model::{Failure, Fault, Reason, RoundReport};
use bucardo_actors::ports::{Rounds, StepHook, Watch};
use futures_util::FutureExt;
use tokio::sync::Notify;

use crate::support::sync_lab::member;
use crate::support::{Proxy, SyncLab};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const NOTES: &str = "SELECT note FROM orders ORDER BY id";

/// Sources a and b, reached through proxies, and a target c.
struct Masters {
    lab: SyncLab,
    a: Proxy,
    b: Proxy,
}

impl Masters {
    async fn start() -> Self {
        let mut lab = SyncLab::empty(&["b", "c"], ORDERS, &["orders:id"]).await;
        let (a, b) = (Proxy::to(lab.on("a").port).await, Proxy::to(lab.on("b").port).await);
        for (place, (name, proxy)) in [("a", &a), ("b", &b)].into_iter().enumerate() {
            let member = member(name, &lab.on(name).words_through(proxy.port()), Role::Source);
            lab.sync.members[place] = member;
        }
        lab.validate().await.unwrap();
        Self { lab, a, b }
    }

    fn session(&self, before: Option<&str>) -> FollowSession {
        session(&self.lab.sync, before)
    }

    /// What a merge does: the same rows at both, and each knows that it has what the other had.
    async fn merged(&self, sql: &str) {
        for name in ["a", "b"] {
            self.lab.on(name).run(sql).await;
        }
        for (name, other) in [("a", "b"), ("b", "a")] {
            let snapshot = self.lab.on(other).value("SELECT txid_current_snapshot()::text").await;
            let learned = format!("UPDATE bucardo.position SET snapshot = '{snapshot}' WHERE source = '{other}'");
            self.lab.on(name).run(&learned).await;
        }
    }

    async fn notes(&self) -> Vec<String> {
        self.lab.on("c").rows(NOTES).await
    }
}

fn session(sync: &SyncDetail, before: Option<&str>) -> FollowSession {
    FollowSession::new(Arc::new(sync.clone()), "c".into(), before.map(Into::into).as_ref())
}

async fn round(session: &mut FollowSession) -> Result<RoundReport, Fault> {
    session.round(Reason::Change, Watch::default()).await
}

fn followed(session: &FollowSession) -> &str {
    session.source().map_or("", |source| source.as_str())
}

/// The preferred source is followed until it cannot be reached; then the other, and that is not left again when the
/// first is back. Whom it has followed last, a new session follows too.
#[tokio::test]
async fn a_target_moves_on_when_its_source_is_away() {
    let masters = Masters::start().await;
    let mut follow = masters.session(None);
    masters.merged("INSERT INTO orders VALUES (1, 'one')").await;
    assert_eq!(round(&mut follow).await.unwrap().inserts, 1);
    assert_eq!(followed(&follow), "a");

    masters.a.cut();
    masters.lab.on("b").run("INSERT INTO orders VALUES (2, 'two')").await;
    round(&mut follow).await.unwrap();
    assert_eq!((followed(&follow), masters.notes().await), ("b", vec!["one".to_owned(), "two".to_owned()]));

    masters.a.open();
    masters.lab.on("a").run("INSERT INTO orders VALUES (3, 'not merged yet')").await;
    masters.lab.on("b").run("UPDATE orders SET note = 'TWO' WHERE id = 2").await;
    round(&mut follow).await.unwrap();
    assert_eq!((followed(&follow), masters.notes().await), ("b", vec!["one".to_owned(), "TWO".to_owned()]));
    let mut next = masters.session(Some("b"));
    assert!(round(&mut next).await.unwrap().is_empty());
    assert_eq!(followed(&next), "b");

    // The way back, in the middle of a session.
    masters.b.cut();
    round(&mut next).await.unwrap();
    assert_eq!((followed(&next), masters.notes().await.len()), ("a", 3));
}

/// With no source in reach the round fails for a while only, and names one; a target that is away is no reason to try
/// the others.
#[tokio::test]
async fn nobody_to_follow_is_a_transient_fault() {
    let mut masters = Masters::start().await;
    masters.a.cut();
    masters.b.cut();
    let mut follow = masters.session(None);
    let fault = round(&mut follow).await.unwrap_err();
    assert_eq!((fault.failure, fault.db), (Failure::Transient, Some("a".into())));
    masters.b.open();
    round(&mut follow).await.unwrap();
    assert_eq!(followed(&follow), "b");

    masters.a.open();
    let place = masters.lab.sync.members.iter().position(|member| member.db.name.as_str() == "c").unwrap();
    let away = member("c", &masters.lab.on("c").words_through(1), Role::Target);
    masters.lab.sync.members[place] = away;
    let fault = round(&mut masters.session(None)).await.unwrap_err();
    assert_eq!((fault.failure, fault.db), (Failure::Transient, Some("c".into())));
}

/// A round that hangs on one source keeps a round from another out: what it has read is older.
#[tokio::test]
async fn rounds_from_two_sources_exclude_each_other() {
    let masters = Masters::start().await;
    let (reached, goes_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    masters.merged("INSERT INTO orders VALUES (1, 'one')").await;
    let hook: StepHook = {
        let (reached, goes_on) = (Arc::clone(&reached), Arc::clone(&goes_on));
        Arc::new(move |step: &str| {
            let (is_there, reached, goes_on) = (step == "snapshot taken", Arc::clone(&reached), Arc::clone(&goes_on));
            async move {
                if is_there {
                    reached.notify_one();
                    goes_on.notified().await;
                }
                Ok(())
            }
            .boxed()
        })
    };
    let mut slow = masters.session(Some("a"));
    let (ended, ()) = tokio::join!(slow.round(Reason::Change, Watch::default().with_hook(hook)), async {
        reached.notified().await;
        masters.lab.on("b").run("UPDATE orders SET note = 'newer'").await;
        let fault = round(&mut masters.session(Some("b"))).await.unwrap_err();
        assert!(fault.message.contains("another round still writes to database \"c\""), "{fault}");
        assert_eq!(fault.failure, Failure::Transient);
        goes_on.notify_one();
    });
    assert_eq!(ended.unwrap().inserts, 1);
    round(&mut masters.session(Some("b"))).await.unwrap();
    assert_eq!(masters.notes().await, ["newer"]);
}

/// What the followed source has merged of the other, the target has too: the other is not read again from the beginning
/// when it is followed one day. It need not be there to be known.
#[tokio::test]
async fn what_was_merged_is_not_read_again() {
    let masters = Masters::start().await;
    let lab = &masters.lab;
    let mut follow = masters.session(Some("a"));
    round(&mut follow).await.unwrap();
    masters.merged("INSERT INTO orders SELECT n, 'merged' FROM generate_series(1, 100) n").await;
    lab.on("b").run("INSERT INTO orders VALUES (101, 'not merged')").await;
    masters.b.cut();
    assert_eq!(round(&mut follow).await.unwrap().inserts, 100);
    let merged = "SELECT snapshot FROM bucardo.position WHERE source = 'b'";
    assert_eq!(lab.on("c").value(merged).await, lab.on("a").value(merged).await);

    masters.b.open();
    masters.a.cut();
    assert_eq!(round(&mut follow).await.unwrap().inserts, 1, "what was not merged");
    assert_eq!((followed(&follow), masters.notes().await.len()), ("b", 101));
}

/// A target that has copied from one source does not copy again from another.
#[tokio::test]
async fn a_whole_copy_is_made_from_one_source() {
    let mut masters = Masters::start().await;
    (masters.lab.sync.onetimecopy, masters.lab.sync.copy_request) = (1, 7);
    masters.merged("INSERT INTO orders VALUES (1, 'one')").await;
    let mut follow = masters.session(None);
    assert!(round(&mut follow).await.unwrap().copied);
    masters.lab.on("c").run("INSERT INTO orders VALUES (99, 'its own')").await;
    masters.a.cut();
    assert!(!round(&mut follow).await.unwrap().copied);
    assert_eq!(followed(&follow), "b");
    assert!(!round(&mut masters.session(None)).await.unwrap().copied, "nor in a new session");
    assert_eq!(masters.notes().await, ["one", "its own"]);
}

/// A target that was away when the sync was validated joins with its first round, and misses nothing.
#[tokio::test]
async fn a_target_that_was_away_joins_later() {
    let mut lab = SyncLab::empty(&["b", "c"], ORDERS, &["orders:id"]).await;
    let b = member("b", &lab.on("b").conninfo(), Role::Source);
    lab.sync.members[1] = b;
    let away = member("c", &lab.on("c").words_through(1), Role::Target);
    let here = std::mem::replace(&mut lab.sync.members[2], away);
    assert_eq!(lab.validate().await.unwrap().warnings.len(), 1);
    lab.on("a").run("INSERT INTO orders VALUES (1, 'meanwhile')").await;
    lab.sync.members[2] = here;
    let mut follow = session(&lab.sync, None);
    assert_eq!(round(&mut follow).await.unwrap().inserts, 1);
    lab.on("a").run("INSERT INTO orders VALUES (2, 'after')").await;
    assert_eq!(round(&mut follow).await.unwrap().inserts, 1);
}
