use bucardo::catalog::*;
use bucardo::engine::PairSession;
use bucardo::lab::{Cluster, Folder, Settings};
use bucardo::pg::Access;
use bucardo_actors::model::{KidId, Reason};
use bucardo_actors::ports::{Rounds, Watch};
use std::sync::Arc;
use std::time::Instant;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = Folder::new("bucardo-speed").unwrap();
    let set = Settings::default().set("shared_buffers", "256MB").set("max_wal_size", "4GB");
    let a = Cluster::start(folder.path(), "a", &set).unwrap();
    let b = Cluster::start(folder.path(), "b", &set).unwrap();
    let ddl = "CREATE TABLE pgbench_accounts (aid int, bid int, abalance int, filler char(84), PRIMARY KEY (aid))";
    for c in [&a, &b] {
        c.sql("postgres", ddl).unwrap();
    }
    a.sql("postgres", "INSERT INTO pgbench_accounts SELECT n, 1, 0, '' FROM generate_series(1,1000000) n").unwrap();
    let member = |n: &str, c: &Cluster, role| Member {
        db: Arc::new(Db {
            name: n.into(),
            access: Access::parse(&c.conninfo("postgres")).unwrap(),
            kind: "postgres".into(),
            active: true,
        }),
        role,
        priority: 0,
    };
    let sync = SyncDetail {
        name: "s".into(),
        status: "active".into(),
        members: vec![member("a", &a, Role::Source), member("b", &b, Role::Target)],
        goats: vec![Goat {
            id: 1,
            schema: "public".into(),
            name: "pgbench_accounts".into(),
            kind: GoatKind::Table,
            key: vec!["aid".into()],
            autokick: None,
            strict_checking: true,
            analyze_after_copy: true,
            ghost: false,
        }],
        autokick: true,
        checktime: None,
        stayalive: true,
        kidsalive: true,
        onetimecopy: 1,
        copy_request: 1,
        deletemethod: DeleteMethod::Delete,
        analyze_after_copy: false,
        strict_checking: true,
        batch_rows_max: 500000,
        problem: None,
    };
    bucardo::source::validate_sync(&sync).await.unwrap();
    let mut s = PairSession::new(Arc::new(sync), KidId { sync: "s".into(), source: "a".into(), target: "b".into() });
    let t = Instant::now();
    let r = s.round(Reason::Start, Watch::default()).await.unwrap();
    println!("copy {:?} {} rows", t.elapsed(), r.inserts);
    a.sql("postgres", "vacuum analyze pgbench_accounts").unwrap();
    b.sql("postgres", "vacuum analyze pgbench_accounts").unwrap();
    a.sql("postgres", "checkpoint").unwrap();
    b.sql("postgres", "checkpoint").unwrap();
    for i in 0..1 {
        let t = Instant::now();
        a.sql("postgres", "update pgbench_accounts set abalance=abalance+1 where aid<=200000").unwrap();
        println!("update {:?}", t.elapsed());
        let t = Instant::now();
        let hook: bucardo_actors::ports::StepHook = Arc::new(move |at: &str| {
            println!("   {:?} {at}", t.elapsed());
            Box::pin(async { Ok(()) })
        });
        let r = s.round(Reason::Start, Watch::default().with_hook(hook)).await.unwrap();
        println!(
            "round {i} {:?} {} rows {:.0}/s",
            t.elapsed(),
            r.inserts,
            r.inserts as f64 / t.elapsed().as_secs_f64()
        );
    }
    let mut all = vec![];
    for i in 0..300 {
        let t0 = Instant::now();
        a.sql("postgres", &format!("update pgbench_accounts set abalance=abalance+1 where aid={}", i * 7 + 300001))
            .unwrap();
        let t1 = Instant::now();
        s.round(Reason::Start, Watch::default()).await.unwrap();
        all.push(t1.elapsed());
        let _ = t0;
    }
    all.sort();
    for q in [
        "explain analyze select * from bucardo.delta_public_pgbench_accounts where txid >= current_setting('bucardo.since_xmin')::bigint LIMIT 10",
        "select reltuples, relpages from pg_class where relname='delta_public_pgbench_accounts'",
        "explain analyze SELECT t.aid, t.filler FROM ONLY pgbench_accounts AS t JOIN (SELECT DISTINCT aid FROM (SELECT aid FROM bucardo.delta_public_pgbench_accounts WHERE txid >= current_setting('bucardo.since_xmin')::bigint AND NOT txid_visible_in_snapshot(txid, (SELECT txid_current_snapshot())) LIMIT 1001) AS few) AS k ON t.aid = k.aid",
    ] {
        println!(
            "{}",
            a.sql(
                "postgres",
                &format!(
                    "set bucardo.since_xmin='{}'; set enable_seqscan=off; set jit=off; {q}",
                    a.sql("postgres", "select txid_current()-1").unwrap().trim()
                )
            )
            .unwrap()
        );
    }
    println!("small round p50 {:?} p99 {:?}", all[150], all[297]);
    let mut all = vec![];
    for _ in 0..100 {
        let t = Instant::now();
        s.round(Reason::Start, Watch::default()).await.unwrap();
        all.push(t.elapsed());
    }
    all.sort();
    println!("empty round p50 {:?}", all[50]);
}
