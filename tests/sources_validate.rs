//! Syncs with several sources are installed in all their databases, also when some of them come later.

use bucardo::catalog::{Mapping, Role};
use bucardo::source::{ValidateError, join};
use bucardo_actors::model::Failure;

use crate::support::sync_lab::member;
use crate::support::{SyncLab, all_know};

const ORDERS: &str = "CREATE TABLE orders (id int, region text, note text, PRIMARY KEY (region, id))";
const GOATS: [&str; 1] = ["orders:region,id"];

/// Who has read whom, here: `b<-a` at `b`.
const POSITIONS: &str = "SELECT source FROM bucardo.position WHERE sync = 's' ORDER BY source";
const TRACKS: &str = "SELECT target || ' ' || round FROM bucardo.track WHERE sync = 's' ORDER BY target";
const KEY_INDEXES: &str =
    "SELECT count(*) FROM pg_indexes WHERE schemaname = 'bucardo' AND indexdef ~ '\\(region, id\\)'";

/// Databases of which the first ones are sources; nothing is validated.
async fn lab(sources: usize, names: &[&str]) -> SyncLab {
    let mut lab = SyncLab::empty(&names[1..], ORDERS, &GOATS).await;
    for (place, name) in names.iter().enumerate() {
        set_role(&mut lab, name, if place < sources { Role::Source } else { Role::Target });
    }
    lab
}

fn set_role(lab: &mut SyncLab, name: &str, role: Role) {
    let place = place(lab, name);
    lab.sync.members[place].role = role;
    lab.sync.members.sort_by_key(|member| member.role != Role::Source);
}

fn place(lab: &SyncLab, name: &str) -> usize {
    lab.sync.members.iter().position(|member| member.db.name.as_str() == name).unwrap()
}

/// Nobody listens where this database was.
fn send_away(lab: &mut SyncLab, name: &str) {
    let place = place(lab, name);
    let role = lab.sync.members[place].role;
    lab.sync.members[place] = member(name, &lab.on(name).words_through(1), role);
}

fn bring_back(lab: &mut SyncLab, name: &str) {
    let place = place(lab, name);
    let role = lab.sync.members[place].role;
    lab.sync.members[place] = member(name, &lab.on(name).conninfo(), role);
}

/// Each source has a position for every source, itself included, and each target one for every source; each source
/// knows everybody else.
async fn assert_registered(lab: &SyncLab) {
    let names = |role: Option<Role>| {
        let members = lab.sync.members.iter().filter(move |member| role.is_none_or(|role| member.role == role));
        let mut names: Vec<String> = members.map(|member| member.db.name.to_string()).collect();
        names.sort();
        names
    };
    let sources = names(Some(Role::Source));
    for name in names(None) {
        let database = lab.on(&name);
        assert_eq!(database.rows(POSITIONS).await, sources, "positions at {name}");
        if !sources.contains(&name) {
            continue;
        }
        let others: Vec<String> =
            names(None).into_iter().filter(|other| *other != name).map(|other| format!("{other} 0")).collect();
        assert_eq!(database.rows(TRACKS).await, others, "tracks at {name}");
        for track in database.rows("SELECT target || '|' || snapshot FROM bucardo.track WHERE sync = 's'").await {
            let (reader, snapshot) = track.split_once('|').unwrap();
            let position = format!("SELECT snapshot FROM bucardo.position WHERE source = '{name}'");
            assert_eq!(lab.on(reader).value(&position).await, snapshot, "{reader}<-{name}");
        }
    }
}

#[tokio::test]
async fn two_and_three_sources_read_each_other() {
    for sources in [2, 3] {
        let mut lab = lab(sources, &["a", "b", "c", "d"][..=sources]).await;
        assert!(lab.validate().await.unwrap().warnings.is_empty());
        assert_registered(&lab).await;
        let mut places = Vec::new();
        for member in &lab.sync.members {
            let database = lab.on(member.db.name.as_str());
            places.push(database.rows("SELECT source, snapshot FROM bucardo.position ORDER BY source").await);
            if member.role == Role::Source {
                database.run("INSERT INTO orders VALUES (1, 'x', '')").await;
                assert_eq!(database.number("SELECT count(*) FROM bucardo.delta_public_orders").await, 1);
            }
        }
        // Again: nothing moves, although there are changes by now.
        assert!(lab.validate().await.unwrap().warnings.is_empty());
        for (member, before) in lab.sync.members.iter().zip(places) {
            let database = lab.on(member.db.name.as_str());
            assert_eq!(database.rows("SELECT source, snapshot FROM bucardo.position ORDER BY source").await, before);
        }
    }
}

/// A one-way sync gets a second source, then a third and a target: what is unread stays unread.
#[tokio::test]
async fn sources_and_targets_join_later() {
    let mut lab = lab(1, &["a", "b", "c", "d"]).await;
    let (d, c) = (lab.sync.members.remove(3), lab.sync.members.remove(2));
    lab.validate().await.unwrap();
    // As an earlier version made it for merges.
    let index = "CREATE INDEX delta_1_key ON bucardo.delta_public_orders (region, id)";
    lab.on("a").run(index).await;
    assert_eq!(lab.on("a").number(KEY_INDEXES).await, 1);
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x', 'unread')").await;
    let position = "SELECT snapshot FROM bucardo.position WHERE source = 'a'";
    let before = lab.on("b").value(position).await;

    set_role(&mut lab, "b", Role::Source);
    lab.validate().await.unwrap();
    assert_registered(&lab).await;
    assert_eq!(lab.on("b").value(position).await, before);
    assert_eq!(lab.on("a").number(KEY_INDEXES).await, 0, "nothing reads along it any more");

    lab.sync.members.extend([c, d]);
    set_role(&mut lab, "c", Role::Source);
    lab.validate().await.unwrap();
    assert_registered(&lab).await;
    assert_eq!(lab.on("b").value(position).await, before);

    // And all the way back: nothing is captured or kept for those that are no longer there.
    lab.sync.members.retain(|member| ["a", "b"].contains(&member.db.name.as_str()));
    set_role(&mut lab, "b", Role::Target);
    lab.validate().await.unwrap();
    assert_eq!(lab.on("a").rows(TRACKS).await, ["b 0"]);
    assert_eq!(lab.on("b").number("SELECT count(*) FROM bucardo.track").await, 0);
    lab.on("b").run("INSERT INTO orders VALUES (2, 'x', 'not captured')").await;
    assert_eq!(lab.on("b").number("SELECT count(*) FROM bucardo.delta_public_orders").await, 0);
    assert_eq!(lab.drain("b").await, 1, "the change that waited all the time");
}

/// A source and a target are away when the sync is validated: the others run, keep what the two will have to read, and
/// each is put in when it is back, from the beginning, whatever an earlier time has left there.
#[tokio::test]
async fn databases_that_are_away_are_installed_when_they_are_back() {
    let mut lab = lab(3, &["a", "b", "c", "d"]).await;
    lab.validate().await.unwrap();
    // The sync is removed and made again while two of its databases are away.
    for name in ["c", "d"] {
        lab.on(name).run("UPDATE bucardo.position SET round = 7, snapshot = '1:1:'").await;
        send_away(&mut lab, name);
    }
    for name in ["a", "b"] {
        lab.on(name).run("DELETE FROM bucardo.track; DELETE FROM bucardo.position").await;
    }
    let warnings = lab.validate().await.unwrap().warnings;
    for name in ["c", "d"] {
        let told = format!("database \"{name}\" is away: ");
        assert_eq!(warnings.iter().filter(|warning| warning.starts_with(&told)).count(), 1, "{warnings:?}");
    }
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(lab.on("a").rows(TRACKS).await, ["b 0", "c -1", "d -1"]);
    assert_eq!(lab.on("a").rows(POSITIONS).await, ["a", "b"]);
    let kept = lab.on("a").value("SELECT snapshot FROM bucardo.track WHERE target = 'c'").await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x', 'meanwhile')").await;

    let error = join(&lab.sync, &"c".into()).await.unwrap_err();
    assert!(matches!(error, ValidateError::Connect { .. }), "{error}");
    bring_back(&mut lab, "c");
    lab.on("c").run("DELETE FROM bucardo.track; DELETE FROM bucardo.position WHERE source = 'c'").await;
    join(&lab.sync, &"c".into()).await.unwrap();
    let at_c = lab.on("c").value("SELECT snapshot || ' ' || round FROM bucardo.position WHERE source = 'a'").await;
    assert_eq!(at_c, format!("{kept} 0"));
    assert_eq!(lab.on("a").rows(TRACKS).await, ["b 0", "c 0", "d -1"]);
    assert_eq!(lab.on("c").rows(TRACKS).await, ["a 0", "b 0", "d -1"]);
    bring_back(&mut lab, "d");
    join(&lab.sync, &"d".into()).await.unwrap();
    assert_registered(&lab).await;
    assert_eq!(lab.drain("d").await, 1);
}

/// With fewer than two sources there is nothing to merge; the error says who is missing.
#[tokio::test]
async fn two_sources_at_least_are_there() {
    let mut lab = lab(2, &["a", "b", "c"]).await;
    send_away(&mut lab, "a");
    let error = lab.validate().await.unwrap_err();
    assert_eq!((error.failure(), error.to_string().as_str()), (Failure::Transient, "cannot connect to database \"a\""));
    assert_eq!(lab.on("b").number("SELECT count(*) FROM pg_namespace WHERE nspname = 'bucardo'").await, 0);
}

/// One database that does not fit keeps nobody else from coming back.
#[tokio::test]
async fn others_that_do_not_fit_keep_nobody_away() {
    let mut lab = lab(3, &["a", "b", "c", "d"]).await;
    send_away(&mut lab, "c");
    lab.validate().await.unwrap();
    lab.on("d").run("ALTER TABLE orders DROP COLUMN note").await;
    bring_back(&mut lab, "c");
    lab.validate().await.unwrap_err();
    join(&lab.sync, &"c".into()).await.unwrap();
    assert_eq!(lab.on("c").rows(POSITIONS).await, ["a", "b", "c"]);
    assert_eq!(lab.on("c").rows(TRACKS).await, ["a 0", "b 0", "d -1"]);
    let problem = join(&lab.sync, &"d".into()).await.unwrap_err().told();
    assert!(problem.contains("column \"note\" is missing"), "{problem}");
}

/// Two validations at once give the same positions as one.
#[tokio::test]
async fn validations_at_the_same_time_agree() {
    let mut lab = lab(3, &["a", "b", "c", "d"]).await;
    let ended = futures_util::future::join_all((0..4).map(|_| bucardo::source::validate_sync(&lab.sync))).await;
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    lab.renew();
    assert_registered(&lab).await;
}

/// Several sources have the same rows, in tables of their own.
#[tokio::test]
async fn what_several_sources_cannot_have_is_refused() {
    let mut lab = lab(2, &["a", "b", "c"]).await;
    let conninfo = lab.on("a").conninfo();
    lab.sync.members.push(member("a2", &conninfo, Role::Target));
    let refusal = lab.validate().await.unwrap_err().told();
    assert!(refusal.contains("databases \"a\" and \"a2\" are the same database"), "{refusal}");
    lab.sync.members.pop();

    let mapping = Mapping { goat: 1, db: "b".into(), name: None, columns: None, filter: Some("id > 0".to_owned()) };
    lab.sync.mappings = vec![Mapping { columns: Some("SELECT *".to_owned()), ..mapping.clone() }];
    let refusal = lab.validate().await.unwrap_err().told();
    for kind in ["customcols", "customselect"] {
        assert!(refusal.contains(&format!("{kind} of table \"public.orders\" for database \"b\"")), "{refusal}");
    }
    // A target may have them.
    lab.sync.mappings = vec![Mapping { db: "c".into(), ..mapping.clone() }];
    assert_eq!(lab.validate().await.unwrap().warnings, [""; 0]);
    // What other rows than its own decide does not come and go with these.
    let filter = Some("id IN (SELECT id FROM public.orders) OR EXISTS (SELECT FROM pg_enum)".to_owned());
    lab.sync.mappings = vec![Mapping { db: "c".into(), filter, ..mapping }];
    let warnings = lab.validate().await.unwrap().warnings;
    let told =
        "customselect of table \"public.orders\" for database \"c\": it looks into pg_catalog.pg_enum, public.orders: ";
    assert!(warnings.iter().any(|warning| warning.starts_with(told)), "{warnings:?}");

    // Rows go both ways.
    lab.on("b").run("ALTER TABLE orders ADD COLUMN extra int").await;
    lab.sync.strict_checking = false;
    let refusal = lab.validate().await.unwrap_err().told();
    assert!(refusal.contains("database \"a\": column \"extra\" is missing (source is \"b\")"), "{refusal}");
}

/// A partition is captured with its table: not once more by itself, in this sync or in another.
#[tokio::test]
async fn a_partition_beside_its_table_is_refused() {
    if !all_know(11, "keys of partitioned tables") {
        return;
    }
    let ddl = "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
               CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
               CREATE TABLE p_lowest PARTITION OF p_low FOR VALUES FROM (0) TO (5)";
    let mut lab = SyncLab::empty(&["b"], ddl, &["p:id", "p_lowest:id"]).await;
    let refusal = lab.validate().await.unwrap_err().told();
    assert!(refusal.contains("\"public.p_lowest\" is a partition of \"public.p\""), "{refusal}");
    assert!(refusal.contains("both are in sync \"s\""), "{refusal}");
    let partition = lab.sync.goats.pop().unwrap();
    lab.validate().await.unwrap();
    lab.sync.name = "other".into();
    lab.sync.goats = vec![partition];
    let refusal = lab.validate().await.unwrap_err().told();
    assert!(refusal.contains("\"public.p\" is in another sync"), "{refusal}");
}

/// What an earlier version installed gets what is new when it is validated again.
#[tokio::test]
async fn an_older_installation_is_brought_up_to_date() {
    let mut lab = SyncLab::start(&["b"], ORDERS, &GOATS).await;
    lab.on("a").run("DROP TABLE bucardo.conflict_kept, bucardo.quarantined, bucardo.adopted; ALTER TABLE bucardo.truncated DROP COLUMN origin").await;
    lab.on("a").run("TRUNCATE orders").await;
    lab.validate().await.unwrap();
    assert_eq!(lab.on("a").rows("SELECT origin FROM bucardo.truncated").await, [""]);
    assert_eq!(lab.on("a").number("SELECT count(*) FROM bucardo.conflict_kept").await, 0);
    assert_eq!(lab.round("b").await.unwrap().truncates, 1);
}

/// Sources are written to: what their role lacks for that is told.
#[tokio::test]
async fn rights_to_write_are_needed_at_sources() {
    let mut lab = lab(2, &["a", "b"]).await;
    let role = format!("reader_{}", std::process::id());
    lab.on("a").run(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT, TRIGGER ON orders TO {role}")).await;
    let a = lab.on("a");
    a.run(&format!("GRANT CREATE, TEMPORARY ON DATABASE \"{}\" TO {role}", a.name)).await;
    let words = format!("host={} port={} user={role} dbname={}", a.host, a.port, a.name);
    lab.sync.members[0] = member("a", &words, Role::Source);
    let told = lab.validate().await.unwrap_err().told();
    assert!(told.contains("GRANT INSERT, UPDATE, DELETE, TRUNCATE ON TABLE \"public\".\"orders\""), "{told}");
    assert!(told.contains("may not set session_replication_role in database \"a\""), "{told}");
}

/// Keys that one source rounds are other keys there, also where a domain of the same name hides it.
#[tokio::test]
async fn keys_that_a_source_rounds_are_refused() {
    let ddl = "CREATE TABLE t (at timestamp(0) PRIMARY KEY); CREATE DOMAIN price AS numeric(8,2);
        CREATE TABLE d (p price PRIMARY KEY); CREATE TABLE n (p numeric(8,2) PRIMARY KEY)";
    let mut lab = SyncLab::empty(&["b"], ddl, &["t:at", "d:p", "n:p"]).await;
    lab.sync.members.iter_mut().for_each(|member| member.role = Role::Source);
    lab.on("b").run("DROP TABLE t, d, n; DROP DOMAIN price").await;
    lab.on("b").run(&ddl.replace("(0)", "").replace("(8,2)", "(8,4)")).await;
    let ValidateError::Problems { problems } = lab.validate().await.unwrap_err() else { panic!("other problems") };
    let told = problems.join("\n");
    for (table, words) in [
        ("t", "column \"at\" has type timestamp(0) without time zone instead of timestamp without time zone"),
        ("d", "column \"p\" has type public.price, which is numeric(8,2) instead of numeric(8,4)"),
        ("n", "column \"p\" has type numeric(8,4) instead of numeric(8,2)"),
    ] {
        let found =
            problems.iter().any(|problem| problem.contains(&format!("\"public.{table}\"")) && problem.contains(words));
        assert!(found, "{words}: {told}");
    }
}
