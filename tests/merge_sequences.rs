//! Sequences in merges: which source leads, and one that does not fit at a source stays behind alone.

use crate::support::SyncLab;

const DDL: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE SEQUENCE q; CREATE SEQUENCE other";

async fn lab(sources: &[&str]) -> SyncLab {
    let mut lab = SyncLab::masters(sources, &[], DDL, &["t:id", "q", "other"]).await;
    lab.on("a").run("INSERT INTO t SELECT n, 'first' FROM generate_series(1, 6) n").await;
    lab.settle().await;
    lab
}

/// Merges until one says this of its quarantine: a source that is connected anew may miss the first ones.
async fn says(lab: &mut SyncLab, words: &str, why: &str) {
    let mut said = String::new();
    for _ in 0..50 {
        let report = lab.merge().await.unwrap();
        assert!(report.away.is_empty(), "{why}: {report:?}");
        said = report.quarantine_told().join("\n");
        if said.is_empty() == words.is_empty() && said.contains(words) {
            return;
        }
    }
    panic!("{why}: {said:?} instead of {words:?}");
}

async fn value(lab: &SyncLab, db: &str, sequence: &str) -> i64 {
    lab.on(db).number(&format!("SELECT last_value FROM {sequence}")).await
}

/// A sequence is dropped, made another thing, or taken from the role at one source, while the session is open or before
/// it is; or its bounds forbid where the others are. The tables and the other sequence go on, the other sources go on
/// with this one, too, and it comes back.
#[tokio::test]
async fn a_sequence_that_does_not_fit_stays_behind_alone() {
    for (drift, words, mend) in [
        ("DROP SEQUENCE q", "does not exist", "CREATE SEQUENCE q"),
        ("DROP SEQUENCE q; CREATE TABLE q ()", "it is a table", "DROP TABLE q; CREATE SEQUENCE q"),
        ("ALTER SEQUENCE q RENAME TO elsewhere", "does not exist", "ALTER SEQUENCE elsewhere RENAME TO q"),
        ("ALTER SEQUENCE q MAXVALUE 10", "out of bounds", "ALTER SEQUENCE q NO MAXVALUE"),
    ] {
        for is_open in [true, false] {
            for sources in [&["a", "b"][..], &["a", "b", "c"]] {
                let why = format!("{drift}, open: {is_open}, {sources:?}");
                let mut lab = lab(sources).await;
                if !is_open {
                    lab.renew();
                }
                lab.on("b").run(drift).await;
                lab.on("a")
                    .run("SELECT setval('q', 500), setval('other', 500); UPDATE t SET v = 'a' WHERE id = 1")
                    .await;
                lab.on("b").run("UPDATE t SET v = 'b' WHERE id = 2").await;
                says(&mut lab, "quarantined sequence \"public.q\" on database \"b\"", &why).await;
                says(&mut lab, words, &why).await;
                lab.settle().await;
                lab.assert_same().await;
                for db in sources {
                    assert_eq!(value(&lab, db, "other").await, 500, "{why} at {db}");
                }
                if sources.len() == 3 {
                    assert_eq!(value(&lab, "c", "q").await, 500, "{why}");
                }
                // It is asked for again, is not mended, and nothing else is in its way.
                lab.on("b").run("UPDATE t SET v = 'more' WHERE id = 3").await;
                says(&mut lab, words, &why).await;
                lab.settle().await;
                assert_eq!(lab.on("a").value("SELECT v FROM t WHERE id = 3").await, "more", "{why}");
                lab.on("b").run(mend).await;
                lab.on("a").run("UPDATE t SET v = 'last' WHERE id = 4").await;
                says(&mut lab, "", &why).await;
                lab.settle().await;
                assert_eq!(value(&lab, "b", "q").await, 500, "{why}");
                lab.on("b").run("SELECT setval('q', 700)").await;
                lab.settle().await;
                assert_eq!(value(&lab, "a", "q").await, 700, "{why}");
                lab.assert_same().await;
            }
        }
    }
}

/// What is said of a sequence decides where all are put, also backwards; what is said of its sync does not.
#[tokio::test]
async fn the_words_of_sequences_decide_who_leads() {
    let mut lab = lab(&["a", "b", "c"]).await;
    lab.sync.conflict_strategy = "bucardo_source".to_owned();
    for (words, expected) in [
        (None, [30, 30, 30]),
        (Some("bucardo_source"), [20, 20, 20]),
        (Some("bucardo_target"), [10, 10, 10]),
        (Some("lowest"), [10, 10, 10]),
        (Some("bucardo_highest"), [30, 30, 30]),
        (Some("bucardo_skip"), [20, 30, 10]),
        (Some("b"), [30, 30, 30]),
        (Some("c a"), [10, 10, 10]),
    ] {
        lab.sync.goats.iter_mut().find(|goat| goat.name == "q").unwrap().conflict_strategy = words.map(str::to_owned);
        lab.renew();
        for (db, value) in [("a", 20), ("b", 30), ("c", 10)] {
            lab.on(db).run(&format!("SELECT setval('q', {value})")).await;
        }
        // A source that is still being connected is put there by a later merge.
        let mut values = Vec::new();
        for _ in 0..50 {
            lab.settle().await;
            values.clear();
            for db in ["a", "b", "c"] {
                values.push(value(&lab, db, "q").await);
            }
            if values == expected {
                break;
            }
        }
        assert_eq!(values, expected, "{words:?}");
        assert_eq!(lab.on("c").value("SELECT nextval('q')").await, (expected[2] + 1).to_string(), "{words:?}");
    }
    lab.sync.goats.iter_mut().find(|goat| goat.name == "q").unwrap().conflict_strategy =
        Some("bucardo_abort".to_owned());
    lab.renew();
    let fault = lab.merge().await.unwrap_err();
    assert!(fault.message.contains("\"abort\" means nothing for a sequence"), "{fault:?}");
}
