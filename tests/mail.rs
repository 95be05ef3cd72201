//! Mail of the daemon, read by a mail server.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::smtp::{MailServer, Mood};
use crate::support::{Bucardo, Daemon, Database, fresh_database, wait};

const WITHIN: Duration = Duration::from_secs(20);
const TABLE: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";

struct Site {
    bucardo: Bucardo,
    control: Database,
    a: Database,
    b: Database,
}

impl Site {
    /// Two databases, one sync, mail to `server`.
    async fn new(server: &MailServer) -> Self {
        let (control, a, b) = (fresh_database("control").await, fresh_database("a").await, fresh_database("b").await);
        let bucardo = Bucardo::on(&control);
        bucardo.run(&format!("install --batch --piddir {}", bucardo.home().display()));
        for (name, database) in [("A", &a), ("B", &b)] {
            database.run(TABLE).await;
            bucardo.add_db(name, database);
        }
        bucardo.run("add sync orders relgroup=all dbs=A,B tables=orders");
        let port = server.port;
        bucardo.run(&format!("set default_email_host=127.0.0.1 default_email_port={port}"));
        bucardo.run("set default_email_from=bucardo@here.test default_email_to=dba@here.test,boss@there.test");
        Self { bucardo, control, a, b }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.bucardo.home().join(name)
    }

    /// The target refuses everything, for good.
    async fn stall(&self, daemon: &mut Daemon<'_>) {
        daemon.announce("stalled");
        daemon.announce("quarantined");
        self.b.run("ALTER TABLE bucardo.position RENAME TO elsewhere").await;
        self.a.run("INSERT INTO orders SELECT coalesce(max(id), 0) + 1, 'new' FROM orders").await;
        daemon.logs("is stalled", WITHIN).await;
    }

    async fn heal(&self) {
        self.b.run("ALTER TABLE bucardo.elsewhere RENAME TO position").await;
        self.bucardo.run("kick orders 20");
    }
}

#[tokio::test]
async fn start_stall_recovery_and_stop_are_told() {
    let server = MailServer::start();
    let site = Site::new(&server).await;
    site.bucardo.run("set stats_script_url=http://stats.test/");
    let mut daemon = Daemon::start(&site.bucardo).await;
    let mail = server.gets("started on").await;
    assert_eq!(mail.from, "FROM:<bucardo@here.test>");
    assert_eq!(mail.to, ["TO:<dba@here.test>", "TO:<boss@there.test>"]);
    assert_eq!(mail.header("From"), "bucardo@here.test");
    assert_eq!(mail.header("To"), "dba@here.test, boss@there.test");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert!(mail.body().contains(&format!("PID: {}", daemon.pid())), "{}", mail.text);

    site.stall(&mut daemon).await;
    let mail = server.gets("is stalled").await;
    assert!(mail.header("Subject").starts_with("Bucardo kid for \"orders\" (A->B) is stalled on "), "{}", mail.text);
    for words in ["Error: ", "Hint: ", "Next try: ", "bucardo status orders", "http://stats.test/?sync=orders"] {
        assert!(mail.body().contains(words), "{words} in {}", mail.text);
    }
    site.heal().await;
    server.gets("(A->B) has recovered on").await;

    site.bucardo.run("stop dinner is ready");
    assert_eq!(daemon.ended(WITHIN).await, 0);
    daemon.assert_quiet();
    let mail = server.gets(&format!("Bucardo MCP {} stopped on", daemon.pid())).await;
    assert!(mail.body().contains("Reason: dinner is ready"), "{}", mail.text);
    assert_eq!(server.mails().len(), 4);

    // The reason of a start, and no mail for those who want none.
    let home = site.bucardo.home().display().to_string();
    site.bucardo.run(&format!("start --log-destination {home} for the test"));
    let mail =
        wait::until("the mail of the second start", WITHIN, async || server.mails().get(4).cloned().ok_or("not yet"));
    assert!(mail.await.body().contains("Reason: for the test"));
    site.bucardo.run("stop");
    site.bucardo.run(&format!("start --log-destination {home} --sendmail 0"));
    site.bucardo.run("stop");
    assert_eq!(server.mails().len(), 6, "that of the second end was the last");
}

/// Whoever may write to the catalog must not be able to write mail to others, or more than one.
#[tokio::test]
async fn a_hostile_name_adds_no_header_and_no_recipient() {
    let server = MailServer::start();
    let site = Site::new(&server).await;
    let name = "o\\r\\nBcc: all@world.test\\r\\n\\r\\n.\\r\\nMAIL FROM:<x@y>\\r\\n";
    site.control.run("ALTER TABLE bucardo.sync DROP CONSTRAINT sync_name_sane").await;
    site.control.run(&format!("UPDATE bucardo.sync SET name = E'{name}'")).await;
    let mut daemon = Daemon::start(&site.bucardo).await;
    daemon.announce("stalled");
    let mail = server.gets("Bucardo: 2 alerts on").await;
    assert_eq!(mail.to, ["TO:<dba@here.test>", "TO:<boss@there.test>"]);
    let head = mail.text.split("\n\n").next().unwrap();
    assert!(!head.lines().any(|line| line.starts_with("Bcc") || line.starts_with("MAIL")), "{head}");
    assert!(mail.body().contains("Bcc: all@world.test"), "the name is shown, in its line: {}", mail.text);
    assert!(!mail.body().lines().any(|line| line.starts_with("Bcc") || line.starts_with("MAIL")), "{}", mail.text);
    daemon.stop().await;
    server.gets("stopped on").await;
}

#[tokio::test]
async fn a_daemon_that_dies_is_told_of_by_itself_or_by_the_next() {
    let server = MailServer::start();
    let site = Site::new(&server).await;
    let daemon = Daemon::start(&site.bucardo).await;
    server.gets("started on").await;
    let pid = daemon.pid();
    daemon.kill();
    let mut daemon = Daemon::start(&site.bucardo).await;
    let mail = server.gets("Bucardo: 2 alerts on").await;
    assert!(mail.body().contains(&format!("Bucardo MCP {pid} was killed on ")), "{}", mail.text);
    assert!(mail.body().contains("ended without a word"), "{}", mail.text);

    // Lost for good: the catalog is gone.
    for word in ["control database", "catalog", "daemon ends", "run history", "notices", "messages for the log"] {
        daemon.announce(word);
    }
    site.control.run("DROP SCHEMA bucardo CASCADE").await;
    site.control
        .run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await;
    assert_eq!(daemon.ended(WITHIN).await, 1);
    let mail = server.gets(&format!("Bucardo MCP {} was killed on", daemon.pid())).await;
    assert!(mail.body().contains("Error: ") && mail.body().contains("Hint: "), "{}", mail.text);
    daemon.assert_quiet();
}

/// The mail server refuses, then it hangs; rounds go on, the log says it once, an end is not held up, and nothing is lost.
#[tokio::test]
async fn a_mail_server_that_is_away_holds_nothing_up() {
    let server = MailServer::start();
    server.become_(Mood::Refuses);
    let site = Site::new(&server).await;
    let mut daemon = Daemon::start(&site.bucardo).await;
    daemon.announce("cannot send mail");
    daemon.logs("cannot send mail, alerts are held back: mail server \"127.0.0.1:", WITHIN).await;
    assert!(daemon.log().contains("try again later"), "{}", daemon.log());
    site.a.run("INSERT INTO orders VALUES (1, 'new')").await;
    site.bucardo.run("kick orders 20");
    assert_eq!(site.b.number("SELECT count(*) FROM orders").await, 1);
    let hint = daemon.log().lines().find(|line| line.contains("cannot send mail")).unwrap().to_owned();
    assert!(hint.contains("default_email_host"), "{hint}");

    // Changed settings make it try at once.
    server.become_(Mood::Hangs);
    let visits = server.visits();
    site.bucardo.run("set email_hour_max=11");
    site.bucardo.run("reload config");
    wait::until("another try", WITHIN, async || if server.visits() > visits { Ok(()) } else { Err(server.visits()) })
        .await;
    let began = Instant::now();
    daemon.stop().await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert!(server.mails().is_empty());

    server.become_(Mood::Takes);
    let mut daemon = Daemon::start(&site.bucardo).await;
    daemon.announce("cannot send mail"); // said before it was started
    // The new daemon's own start may come with it.
    let mail = server.gets("alerts that were held back on").await;
    assert!(mail.body().contains("started on"), "{}", mail.text);
    assert_eq!(mail.body().matches("stopped on").count(), 1, "{}", mail.text);
    daemon.stop().await;
}

/// At most so many an hour; a higher limit lets out what was held back, in one mail.
#[tokio::test]
async fn an_hour_has_so_many_mails() {
    let server = MailServer::start();
    let site = Site::new(&server).await;
    assert!(site.bucardo.fails("set email_hour_max=-1").contains("email_hour_max"));
    site.bucardo.run("set email_hour_max=1");
    let mut daemon = Daemon::start(&site.bucardo).await;
    server.gets("started on").await;
    let file = site.file("bucardo.mail.json");
    let waits = async |word: &str| {
        wait::until(&format!("\"{word}\" in the file of what waits"), WITHIN, async || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.contains(word) { Ok(()) } else { Err(text) }
        })
        .await;
    };
    site.stall(&mut daemon).await;
    waits("is stalled").await;
    site.heal().await;
    waits("has recovered").await;
    assert_eq!(server.mails().len(), 1);

    site.bucardo.run("set email_hour_max=3");
    site.bucardo.run("reload config");
    let mail = server.gets("Bucardo: 2 alerts that were held back on").await;
    assert!(mail.body().contains("is stalled on") && mail.body().contains("has recovered on"), "{}", mail.text);
    daemon.stop().await;
    server.gets("stopped on").await;
    assert_eq!(server.mails().len(), 3);
}

fn openssl(folder: &std::path::Path, words: &str) {
    let output = Command::new("openssl").args(words.split(' ')).current_dir(folder).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate for localhost, `mail.crt`, signed by `ca.crt`.
fn certify(folder: &std::path::Path) {
    openssl(folder, "req -x509 -newkey rsa:2048 -nodes -days 30 -keyout ca.key -out ca.crt -subj /CN=ca");
    openssl(folder, "req -newkey rsa:2048 -nodes -keyout mail.key -out mail.csr -subj /CN=localhost");
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        folder,
        "x509 -req -in mail.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile names -out mail.crt",
    );
}

impl Site {
    /// A user at the mail server, whose password is in a file; everything is logged.
    fn log_in(&self, host: &str, tls: &str) {
        let secret = self.file("mail.password");
        std::fs::write(&secret, "pass w0rd\n").unwrap();
        let words = [
            "set".to_owned(),
            format!("default_email_host={host}"),
            format!("email_tls={tls}"),
            "email_auth_user=bucardo".to_owned(),
            format!("email_auth_pass=file:{}", secret.display()),
            "log_level=debug2".to_owned(),
        ];
        self.bucardo.call(&words).ok();
    }
}

/// NUL bucardo NUL pass w0rd
const LOGIN: &str = "AGJ1Y2FyZG8AcGFzcyB3MHJk";

fn assert_says_no_password(daemon: &Daemon<'_>) {
    assert!(!daemon.log().contains("w0rd") && !daemon.log().contains("AGJ1Y2"), "{}", daemon.log());
}

/// STARTTLS, and TLS from the first byte, with a certificate that is checked; the password comes from a file and is in
/// no log.
#[tokio::test]
async fn a_password_goes_through_tls_only_and_is_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let (certificate, key) = (folder.path().join("mail.crt"), folder.path().join("mail.key"));
    for how in ["starttls", "tls"] {
        let server = match how {
            "tls" => MailServer::with_tls(&certificate, &key),
            _ => MailServer::with_starttls(&certificate, &key),
        };
        let site = Site::new(&server).await;
        site.log_in("localhost", how);

        // Nobody vouches for the server: not a word to it.
        let mut daemon = Daemon::start(&site.bucardo).await;
        daemon.announce("cannot send mail");
        daemon.logs("cannot send mail", WITHIN).await;
        assert!(daemon.log().to_lowercase().contains("certificate"), "{how}: {}", daemon.log());
        daemon.stop().await;
        assert!(server.mails().is_empty());

        let mut daemon = Daemon::start_with(&site.bucardo, &[("SSL_CERT_FILE", folder.path().join("ca.crt"))]).await;
        daemon.announce("cannot send mail"); // said before it was started
        let mail = server.gets("held back").await;
        assert!(mail.secret);
        assert_eq!(mail.login, LOGIN, "{how}");
        assert_says_no_password(&daemon);
        daemon.stop().await;
    }
}

/// Another host gets no password in clear, unless that is allowed; what could not be sent comes then. (`127.1` is this
/// host, but only for those who ask the resolver.)
#[tokio::test]
async fn a_password_does_not_cross_the_network_in_clear_unless_allowed() {
    let server = MailServer::start();
    let site = Site::new(&server).await;
    site.log_in("127.1", "none");
    let mut daemon = Daemon::start(&site.bucardo).await;
    daemon.announce("cannot send mail");
    daemon.logs("cannot send mail", WITHIN).await;
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("cannot send mail")).unwrap();
    for words in ["would cross the network to mail server \"127.1:", "in clear", "email_tls", "email_auth_plain=1"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert_eq!(server.visits(), 0, "not even a greeting");

    assert!(site.bucardo.fails("set email_auth_plain=perhaps").contains("email_auth_plain"));
    site.bucardo.run("set email_auth_plain=1");
    site.bucardo.run("reload config");
    let mail = server.gets("held back").await;
    assert!(mail.body().contains("started on"), "{}", mail.text);
    assert_eq!((mail.login.as_str(), mail.secret), (LOGIN, false));
    assert_says_no_password(&daemon);
    daemon.stop().await;
}

/// Without a recipient nothing is sent; the file of copies needs none.
#[tokio::test]
async fn copies_go_to_a_file() {
    let server = MailServer::start();
    let site = Site::new(&server).await;
    site.bucardo.run("set default_email_to=nobody@example.com");
    let copies = site.file("copies");
    site.bucardo.run(&format!("set email_debug_file={}", copies.display()));
    let daemon = Daemon::start(&site.bucardo).await;
    let text = wait::until("a copy", WITHIN, async || {
        let text = std::fs::read_to_string(&copies).unwrap_or_default();
        if text.contains("PID: ") { Ok(text) } else { Err(text) }
    })
    .await;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("====="), "{text}");
    assert_eq!((lines[1], lines[2]), ("To: nobody@example.com", "From: bucardo@here.test"), "{text}");
    assert!(lines[3].starts_with("Subject: Bucardo ") && lines[4].starts_with("Date: "), "{text}");
    daemon.stop().await;
    assert_eq!(server.visits(), 0);
}
