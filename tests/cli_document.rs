//! The configuration as a file: what `export` writes, `apply` makes elsewhere, and `plan` finds nothing to do.

use crate::cli_lab::CliLab;

const TABLES: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text); \
                      CREATE TABLE \"We.ird \"\"x\" (\"Key 1\" int, k2 text, PRIMARY KEY (\"Key 1\", k2)); CREATE SEQUENCE numbers";

async fn filled() -> (CliLab, Vec<crate::support::Database>) {
    let lab = CliLab::start().await;
    let dbs = vec![lab.db("east", TABLES).await, lab.db("west", TABLES).await];
    let run = |words: &[&str]| lab.call(words).ok();
    run(&["add", "all", "tables", "db=east", "relgroup=shop"]);
    run(&["add", "all", "sequences", "db=east", "relgroup=shop"]);
    run(&[
        "add",
        "sync",
        "s",
        "relgroup=shop",
        "dbs=east:source,west:target",
        "checktime=90 seconds",
        "conflict_strategy=latest",
        "deadletter=on",
    ]);
    run(&["update", "table", "public.orders", "conflict_strategy=source", "ghost=true"]);
    run(&["set", "vac_sleep=77"]);
    run(&["add", "customname", "public.orders", "public.sales", "db=west"]);
    dbs[1].run("ALTER TABLE orders RENAME TO sales").await;
    let code = lab.bucardo.home().join("code.pl");
    std::fs::write(&code, "# line 1\n'\"\\\\';\n").unwrap();
    run(&["add", "customcode", "mine", "whenrun=before_sync", &format!("src_code={}", code.display()), "sync=s"]);
    std::fs::write(&code, "input.message = 'done'\n").unwrap();
    let src_code = format!("src_code={}", code.display());
    run(&["add", "customcode", "other", "whenrun=after_txn", "language=lua", &src_code, "relation=public.orders"]);
    (lab, dbs)
}

/// The same databases with an empty catalog of another control database.
async fn elsewhere(lab: &CliLab) -> (CliLab, String) {
    let file = lab.bucardo.home().join("all.toml").display().to_string();
    lab.call(&["export", &file]).ok();
    (CliLab::start().await, file)
}

#[tokio::test]
async fn a_catalog_goes_round_through_a_file() {
    let (lab, dbs) = filled().await;
    let (other, file) = elsewhere(&lab).await;
    assert_eq!(lab.call(&["plan", &file]).code, 0, "nothing to do where it came from");
    let planned = other.call(&["plan", &file]);
    assert_eq!(planned.code, 2);
    for line in [
        "+ db east",
        "+ sync s\n",
        "    relgroup = \"shop\"",
        "+ customname of public.orders of east for database west",
    ] {
        assert!(planned.stdout.contains(line), "{line} in\n{}", planned.stdout);
    }
    let dry = other.call(&["apply", &file, "--dry-run"]);
    assert!(dry.stdout.ends_with("Dry run: nothing was changed\n") && dry.code == 0, "{}", dry.stdout);
    assert_eq!(other.control.number("SELECT count(*) FROM bucardo.db").await, 0);
    let unsure = other.call(&["apply", &file, "--confirm"]);
    assert!(unsure.stdout.contains("Changes have been rolled back"), "{}", unsure.stdout);
    assert_eq!(other.control.number("SELECT count(*) FROM bucardo.db").await, 0);

    other.call(&["apply", &file]).ok();
    let again = other.bucardo.home().join("again.toml").display().to_string();
    other.call(&["export", &again]).ok();
    assert_eq!(std::fs::read_to_string(&again).unwrap(), std::fs::read_to_string(&file).unwrap());
    let before = other.catalog().await;
    assert!(other.call(&["apply", &file]).ok().contains("No changes"));
    assert_eq!(other.catalog().await, before, "applied twice it changes nothing");
    for sql in
        ["SELECT deadletter FROM bucardo.sync", "SELECT name, language, src_code FROM bucardo.customcode ORDER BY name"]
    {
        assert_eq!(other.control.rows(sql).await, lab.control.rows(sql).await);
    }
    assert_eq!(other.control.rows("SELECT language FROM bucardo.customcode ORDER BY name").await, ["perl", "lua"]);
    assert_eq!(other.control.value("SELECT deadletter FROM bucardo.sync").await, "t");
    for column in
        ["pkey, pkeytype, key_columns", "schemaname, tablename, reltype, conflict_strategy, standard_conflict, ghost"]
    {
        let sql = format!("SELECT {column} FROM bucardo.goat ORDER BY schemaname, tablename");
        assert_eq!(other.control.rows(&sql).await, lab.control.rows(&sql).await, "as by the command line");
    }
    assert!(dbs[0].value("SELECT to_regclass('bucardo.delta_public_orders') IS NOT NULL").await == "t", "installed");

    // A file that says less, and other things.
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text.replace("00:01:30", "2 minutes").replace("[settings]\nvac_sleep = \"77\"\n", "");
    assert_ne!(changed, text);
    std::fs::write(&file, &changed).unwrap();
    let planned = other.call(&["plan", &file]);
    assert_eq!(
        planned.stdout,
        "- setting vac_sleep\n~ sync s\n    checktime: \"00:01:30\" -> \"00:02:00\"\n0 to add, 1 to change, 1 to remove\n"
    );
    other.call(&["apply", &file]).ok();
    assert_eq!(other.bucardo.run("show vac_sleep").trim(), "vac_sleep = 120");
    assert_eq!(other.call(&["plan", &file]).code, 0);
    std::fs::write(&file, "").unwrap();
    assert!(other.call(&["apply", &file]).ok().contains("- sync s\n"));
    assert!(
        other.call(&["export"]).ok().lines().all(|line| line.is_empty() || line.starts_with('#')),
        "nothing is left"
    );
    assert_eq!(dbs[0].number("SELECT count(*) FROM bucardo.captured_sync WHERE sync = 's'").await, 0);
}

#[tokio::test]
async fn passwords_are_never_in_the_file() {
    let (lab, dbs) = filled().await;
    lab.call(&["update", "db", "west", "pass=geheim!"]).ok();
    lab.call(&["update", "db", "east", "pass=text:env:geheim"]).ok();
    lab.call(&["set", "email_auth_pass=auch geheim"]).ok();
    let exported = lab.call(&["export"]);
    assert!(exported.stderr.contains("dbpass of db west is not written"), "{}", exported.stderr);
    assert!(!exported.stdout.contains("geheim") && !exported.stderr.contains("geheim"), "{}", exported.stdout);
    let file = lab.bucardo.home().join("all.toml");
    std::fs::write(&file, &exported.stdout).unwrap();
    let path = file.display().to_string();
    assert_eq!(lab.call(&["plan", &path]).code, 0, "what the file cannot say stays");

    // A reference is written, and resolved by whoever connects.
    let secret = lab.bucardo.home().join("secret");
    std::fs::write(&secret, "geheim!\n").unwrap();
    let reference = format!("dbpass = \"file:{}\"", secret.display());
    let text = exported.stdout.replace("[db.west]\n", &format!("[db.west]\n{reference}\n"));
    std::fs::write(&file, &text).unwrap();
    let planned = lab.call(&["plan", &path]);
    assert!(planned.code == 2 && !planned.stdout.contains("geheim!"), "{}", planned.stdout);
    lab.call(&["apply", &path]).ok();
    assert!(lab.call(&["export"]).stdout.contains(&reference));
    assert_eq!(
        lab.control.rows("SELECT dbpass FROM bucardo.db WHERE name = 'west'").await,
        [format!("file:{}", secret.display())]
    );
    std::fs::remove_file(&secret).unwrap();
    let refused = lab.bucardo.fails("validate s");
    assert!(refused.contains("cannot read the password of database \"west\": file"), "{refused}");
    drop(dbs);
}

#[tokio::test]
async fn a_file_that_makes_no_sense_changes_nothing() {
    let (lab, _dbs) = filled().await;
    let file = lab.bucardo.home().join("bad.toml").display().to_string();
    lab.call(&["export", &file]).ok();
    let good = std::fs::read_to_string(&file).unwrap();
    for (bad, complaint) in [
        (good.clone() + "[nonsense]\n", "there is no section \"nonsense\""),
        (good.replace("checktime = \"00:01:30\"", "chektime = \"1 day\""), "did you mean \"checktime\"?"),
        (good.replace("00:01:30", "soon"), "sync s: "),
        (good.replace("vac_sleep", "vac_slep"), "did you mean \"vac_sleep\"?"),
        (good.replace("[db.west]\n", "[db.west]\ndbpass = \"geheim!\"\n"), "dbpass of db west holds a password"),
        (
            good.replace("[db.west]\n", "[db.west]\ndbdsn = \"host=h password=geheim!\"\n"),
            "dbdsn of db west holds a password",
        ),
        (good.replace("relgroup = \"shop\"", "relgroup = "), "bad.toml: "),
        (good.replace("relgroup = \"shop\"", "relgroup = \"none\""), "Nothing was changed: sync s"),
        (
            good.replace("[table.east.public.orders]", "[table.east.public.gone]")
                .replace("[relgroup.shop.members.east.public.orders]", "[relgroup.shop.members.east.public.gone]"),
            "Nothing was changed",
        ),
    ] {
        assert_ne!(bad, good, "{complaint}");
        std::fs::write(&file, &bad).unwrap();
        let before = lab.catalog().await;
        let output = lab.call(&["apply", &file]);
        assert!(
            output.code != 0 && output.stderr.contains(complaint),
            "{complaint}: {} {}{}",
            output.code,
            output.stdout,
            output.stderr
        );
        assert!(!output.stderr.contains("geheim!"), "{}", output.stderr);
        assert_eq!(lab.catalog().await, before, "{complaint}");
    }
    assert!(lab.bucardo.fails("plan /no/such/file").contains("Cannot read /no/such/file"));
    assert!(lab.bucardo.fails("plan").contains("bucardo plan FILE"));
    assert!(lab.bucardo.fails("export a b").contains("bucardo export [FILE]"));
}
