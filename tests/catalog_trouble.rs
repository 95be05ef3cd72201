//! What the daemon notes of work that does not go well.

use std::time::{Duration, SystemTime};

use bucardo::catalog::{migrate, trouble};
use bucardo_actors::model::{DbName, Fault, KidId, Pair, Work};
use tokio_postgres::Client;

use crate::support::fresh_database;

fn pair(target: &str) -> KidId {
    Pair { sync: "s".into(), source: "a".into(), target: target.into() }.into()
}

fn kid(work: Work) -> KidId {
    KidId { sync: "s".into(), work }
}

async fn listed(session: &Client) -> Vec<String> {
    let all = trouble::list(session).await.unwrap();
    all.iter().map(|it| format!("{}>{} {} {}", it.source, it.target, it.failures, it.why)).collect()
}

/// Troubles of pairs, of a merge, of those that follow and of sources that are away stand side by side, end one by one,
/// and are forgotten with the work itself.
#[tokio::test]
async fn troubles_come_and_go() {
    let database = fresh_database("trouble").await;
    let mut session = database.session().await;
    migrate::migrate(&mut session).await.unwrap();
    database.run("INSERT INTO bucardo.sync (name) VALUES ('s')").await;
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let (merge, follow) = (kid(Work::Merge), kid(Work::Follow { target: "t".into() }));
    for kid in [&merge, &follow, &pair("f"), &pair("gone")] {
        trouble::note(&session, kid, at, None, &Fault::transient("no route")).await.unwrap();
    }
    trouble::note(&session, &merge, at, None, &Fault::transient("deadlock")).await.unwrap();
    let away = |dbs: &[&str]| dbs.iter().map(|&db| (DbName::from(db), format!("{db} is dead"))).collect::<Vec<_>>();
    trouble::note_away(&session, &"s".into(), at, &away(&["b", "c"])).await.unwrap();
    trouble::note_away(&session, &"s".into(), at, &away(&["c"])).await.unwrap();
    let all = ["> 2 deadlock", ">t 1 no route", "a>f 1 no route", "a>gone 1 no route", "c> 2 c is dead"];
    assert_eq!(listed(&session).await, all);
    let kinds = trouble::list(&session).await.unwrap();
    assert_eq!(kinds.iter().map(|it| (it.is_merge(), it.is_away())).filter(|is| is.0 || is.1).count(), 2);

    trouble::over(&session, &follow).await.unwrap();
    let sources = ["a", "b", "c"].map(|db| ("s".into(), db.into()));
    trouble::retain(&session, &[merge, follow.clone(), pair("f")], &sources).await.unwrap();
    assert_eq!(listed(&session).await, ["> 2 deadlock", "a>f 1 no route", "c> 2 c is dead"]);
    // Nothing is merged any more.
    trouble::retain(&session, &[follow, pair("f")], &sources).await.unwrap();
    assert_eq!(listed(&session).await, ["a>f 1 no route"]);
    trouble::retain(&session, &[], &[]).await.unwrap();
    assert!(listed(&session).await.is_empty());
}
