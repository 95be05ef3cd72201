//! What several sources purge: nothing that a lagging one would miss later.

use std::sync::Arc;
use std::time::Duration;

use bucardo::catalog::Role;
use bucardo::pg::{Access, Connection, connect};
use bucardo::source::floor::{Looks, carry, positions};
use bucardo::source::purge::{Bound, Bounds, PurgeLimits, purge_within, survey};
use bucardo::source::purging::{Chosen, purge_sources};
use bucardo_actors::ports::Watch;

use crate::support::sync_lab::member;
use crate::support::{SyncLab, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const KEPT: &str = "SELECT id FROM bucardo.delta_public_orders ORDER BY id";

/// Sources `a` and `b`, and the target `t`.
async fn lab() -> SyncLab {
    let mut lab = SyncLab::empty(&["b", "t"], ORDERS, &["orders:id"]).await;
    lab.sync.members[1].role = Role::Source;
    lab.validate().await.unwrap();
    lab
}

async fn open(lab: &SyncLab, db: &str) -> Connection {
    connect(&Access::parse(&lab.on(db).conninfo()).unwrap(), "test").await.unwrap()
}

/// Everybody has read everything of `source`, and it has settled that itself.
async fn all_read(lab: &SyncLab, source: &str) {
    lab.on(source).run("UPDATE bucardo.track SET snapshot = txid_current_snapshot()").await;
    let settle = format!("UPDATE bucardo.position SET snapshot = txid_current_snapshot() WHERE source = '{source}'");
    lab.on(source).run(&settle).await;
}

async fn purge(lab: &SyncLab, db: &str, bound: Bound) -> u64 {
    let source = open(lab, db).await;
    let limits = PurgeLimits { keep: Duration::ZERO, ..PurgeLimits::default() };
    let survey = survey(&source, &db.into()).await.unwrap();
    let bounds = Bounds::from([(lab.sync.name.clone(), bound)]);
    purge_within(&source, &db.into(), (&survey, &bounds), None, limits, &Watch::default()).await.unwrap().rows
}

/// A change that all have read stays as long as an older one is unread at any source: forgotten, it would lose later
/// against what it had won from.
#[tokio::test]
async fn what_is_newer_than_something_unread_stays() {
    let lab = lab().await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'old'), (2, 'new')").await;
    let older = "UPDATE bucardo.delta_public_orders SET txntime = now() - interval '2 hours' WHERE id = 1";
    lab.on("a").run(older).await;
    all_read(&lab, "a").await;
    lab.on("b").run("INSERT INTO orders VALUES (3, 'unread')").await;
    lab.on("b").run("UPDATE bucardo.delta_public_orders SET txntime = now() - interval '1 hour'").await;

    let mut looks = Looks::default();
    let (a, b) = (open(&lab, "a").await, open(&lab, "b").await);
    assert_eq!(looks.oldest_unread(&a, &"a".into(), &lab.sync.name).await.unwrap(), None);
    let oldest = looks.oldest_unread(&b, &"b".into(), &lab.sync.name).await.unwrap().unwrap();
    assert_eq!(purge(&lab, "a", Bound::Unknown).await, 0);
    assert_eq!(purge(&lab, "a", Bound::Before(oldest)).await, 1);
    assert_eq!(lab.on("a").rows(KEPT).await, ["2"]);

    // The same look again, and one more unread change, of a transaction that is older still.
    assert_eq!(looks.oldest_unread(&b, &"b".into(), &lab.sync.name).await.unwrap(), Some(oldest));
    lab.on("b")
        .run("INSERT INTO bucardo.delta_public_orders (id, txntime) VALUES (4, now() - interval '3 hours')")
        .await;
    let older = looks.oldest_unread(&b, &"b".into(), &lab.sync.name).await.unwrap().unwrap();
    assert!(older < oldest, "{older} {oldest}");
    lab.on("b").run("TRUNCATE orders").await;
    all_read(&lab, "b").await;
    assert_eq!(looks.oldest_unread(&b, &"b".into(), &lab.sync.name).await.unwrap(), None);
    assert_eq!(purge(&lab, "a", Bound::Free).await, 1);
}

/// A truncate that is unread counts as a change does.
#[tokio::test]
async fn an_unread_truncate_holds_back_too() {
    let lab = lab().await;
    lab.on("b").run("TRUNCATE orders").await;
    let b = open(&lab, "b").await;
    let at: String = lab.on("b").value("SELECT txntime::text FROM bucardo.truncated").await;
    let oldest = Looks::default().oldest_unread(&b, &"b".into(), &lab.sync.name).await.unwrap().unwrap();
    let same = format!("SELECT '{at}'::timestamptz = '{}'::timestamptz", oldest.to_rfc3339());
    assert_eq!(lab.on("b").value(&same).await, "t");
}

/// What a target knows of a source that it does not follow is carried there, unless a round is about to tell itself.
#[tokio::test]
async fn what_a_target_has_learned_is_carried_to_the_sources() {
    let lab = lab().await;
    let (b, t) = (open(&lab, "b").await, open(&lab, "t").await);
    lab.on("b").run("INSERT INTO orders VALUES (1, 'merged')").await;
    let now = lab.on("b").value("SELECT txid_current_snapshot()").await;
    lab.on("t").run(&format!("UPDATE bucardo.position SET snapshot = '{now}' WHERE source = 'b'")).await;
    let track = "SELECT snapshot FROM bucardo.track WHERE target = 't'";
    let learned = positions(&t, &lab.sync.name).await.unwrap();
    let (_, position, round) = learned.iter().find(|(source, ..)| source.as_str() == "b").unwrap();
    carry(&b, &lab.sync.name, &"t".into(), (position, round + 1)).await.unwrap();
    assert_ne!(lab.on("b").value(track).await, now);
    carry(&b, &lab.sync.name, &"t".into(), (position, *round)).await.unwrap();
    assert_eq!(lab.on("b").value(track).await, now);
}

/// A source that cannot be written lets the others read its changes, and settles them later. Until then those of one key
/// count together: with one of them forgotten, a later one of an old transaction would look like what they have already.
#[tokio::test]
async fn what_a_source_has_not_settled_stays() {
    let mut lab = SyncLab::masters(&["a", "b"], &[], ORDERS, &["orders:id"]).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'first'), (2, 'first')").await;
    lab.settle().await;
    let (old, holds) = (lab.on("a").session().await, lab.on("a").session().await);
    old.batch_execute("BEGIN; SELECT txid_current()").await.unwrap();
    holds.batch_execute("BEGIN; SELECT FROM orders WHERE id = 2 FOR UPDATE").await.unwrap();
    lab.on("a").run("UPDATE orders SET note = 'one' WHERE id = 1").await;
    lab.on("b").run("UPDATE orders SET note = 'b' WHERE id = 2").await;
    lab.on("a").run("UPDATE orders SET note = 'two' WHERE id = 1").await;
    let report = lab.merge().await.unwrap();
    assert_eq!(report.away.iter().map(|(db, _)| db.as_str()).collect::<Vec<_>>(), ["a"], "{report:?}");
    assert_eq!(lab.on("b").value("SELECT note FROM orders WHERE id = 1").await, "two");

    let mut looks = Looks::default();
    let mut oldest = None;
    for db in ["a", "b"] {
        let unread = looks.oldest_unread(&open(&lab, db).await, &db.into(), &lab.sync.name).await.unwrap();
        oldest = [oldest, unread].into_iter().flatten().min();
    }
    purge(&lab, "a", oldest.map_or(Bound::Free, Bound::Before)).await;
    old.batch_execute("UPDATE orders SET note = 'three' WHERE id = 1; COMMIT").await.unwrap();
    holds.batch_execute("COMMIT").await.unwrap();
    wait::until("a to take part again", Duration::from_secs(20), async || {
        let report = lab.merge().await.unwrap();
        if report.away.is_empty() { Ok(()) } else { Err(report) }
    })
    .await;
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("b").value("SELECT note FROM orders WHERE id = 1").await, "three");
}

/// Purges `a` alone, as `bucardo purge a` does; returns how many rows that were.
async fn purge_a(lab: &SyncLab, looks: &mut Looks) -> u64 {
    let limits = PurgeLimits { keep: Duration::ZERO, ..PurgeLimits::default() };
    let (syncs, chosen) = ([Arc::new(lab.sync.clone())], Chosen::from([("a".into(), None)]));
    let purged = purge_sources(&syncs, &chosen, limits, looks, ("test", &Watch::default())).await.unwrap();
    purged.into_values().map(|purged| purged.unwrap().rows).sum()
}

/// Transactions that began before a change write the same key after all have read that: if its source had forgotten it, and
/// others had not, what they write would look older to these than what they have.
#[tokio::test]
async fn what_is_newer_than_a_running_transaction_stays() {
    let mut lab = SyncLab::masters(&["a", "b", "c"], &[], ORDERS, &["orders:id"]).await;
    let (one, two) = (lab.on("a").session().await, lab.on("a").session().await);
    for old in [&one, &two] {
        old.batch_execute("BEGIN; SELECT now()").await.unwrap();
    }
    lab.on("a").run("INSERT INTO orders VALUES (1, 'first')").await;
    lab.settle().await;
    let mut looks = Looks::default();
    purge_a(&lab, &mut looks).await;
    // Without c.
    let nowhere = member("c", &lab.on("c").words_through(1), Role::Source);
    let back = std::mem::replace(&mut lab.sync.members[2], nowhere);
    lab.renew();
    one.batch_execute("UPDATE orders SET note = 'second' WHERE id = 1; COMMIT").await.unwrap();
    lab.merge().await.unwrap();
    two.batch_execute("UPDATE orders SET note = 'third' WHERE id = 1; COMMIT").await.unwrap();
    lab.sync.members[2] = back;
    lab.renew();
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("c").value("SELECT note FROM orders WHERE id = 1").await, "third");
    assert_eq!(lab.conflicts.all().len(), 0);
    assert!(purge_a(&lab, &mut looks).await > 0, "no transaction is under way any more");
    assert_eq!(lab.on("a").rows(KEPT).await, [""; 0]);
}

/// Nobody tells when a prepared transaction began: until looks have shown how old it is at most, nothing is purged. One that
/// has changed nothing of the sync does not count.
#[tokio::test]
async fn prepared_transactions_hold_back_what_they_may_have_come_after() {
    let mut lab = SyncLab::masters(&["a", "b"], &[], ORDERS, &["orders:id"]).await;
    let at_b = lab.on("b").session().await;
    at_b.batch_execute("CREATE TABLE other (id int); BEGIN; INSERT INTO other VALUES (1); PREPARE TRANSACTION 'other'")
        .await
        .unwrap();
    lab.on("a").run("INSERT INTO orders VALUES (1, 'first')").await;
    lab.settle().await;
    assert_eq!(purge_a(&lab, &mut Looks::default()).await, 1);
    at_b.batch_execute("BEGIN; INSERT INTO orders VALUES (2, 'late'); PREPARE TRANSACTION 'late'").await.unwrap();
    lab.on("a").run("INSERT INTO orders VALUES (3, 'next')").await;
    lab.settle().await;
    let mut looks = Looks::default();
    for _ in 0..2 {
        assert_eq!(purge_a(&lab, &mut looks).await, 0);
    }
    for end in ["COMMIT PREPARED 'late'", "ROLLBACK PREPARED 'other'"] {
        at_b.batch_execute(end).await.unwrap();
    }
    lab.settle().await;
    lab.assert_same().await;
    assert!(purge_a(&lab, &mut looks).await > 0);
}
