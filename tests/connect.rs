//! Connections as libpq makes them, against real servers.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use bucardo::lab::{Cluster, Folder, Settings, free_port};
use bucardo::pg::{self, Access, ConnectError, Connection};
use bucardo_actors::model::Failure;

use crate::support::{Proxy, server, wait};

const WITHIN: Duration = Duration::from_secs(10);
const PASSWORD: &str = "s3cr:et\\word";

async fn connect(conninfo: &str) -> Result<Connection, ConnectError> {
    pg::connect(&Access::parse(conninfo).unwrap(), "bucardo test").await
}

async fn connected(conninfo: &str) -> Connection {
    connect(conninfo).await.unwrap_or_else(|error| panic!("{conninfo}: {}", pg::causes(&error)))
}

async fn refused(conninfo: &str) -> (ConnectError, String) {
    let error = connect(conninfo).await.err().unwrap_or_else(|| panic!("{conninfo} connects"));
    let told = pg::causes(&error);
    assert!(!told.contains("s3cr"), "the password is told: {told}");
    (error, told)
}

async fn value(connection: &Connection, sql: &str) -> String {
    let rows = connection.simple_query(sql).await.unwrap();
    let value = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    value.expect("a row")
}

async fn is_encrypted(connection: &Connection) -> bool {
    value(connection, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await == "t"
}

/// A server with TLS and roles that come in by password or by certificate.
struct Secured {
    _folder: Folder,
    cluster: Cluster,
    files: PathBuf,
}

impl Secured {
    fn file(&self, name: &str) -> String {
        self.files.join(name).display().to_string()
    }

    fn at(&self, words: &str) -> String {
        format!("host=db.test hostaddr=127.0.0.1 port={} dbname=postgres {words}", self.cluster.port())
    }
}

fn openssl(dir: &Path, line: &str) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(dir).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Certificates of a CA, a server (`db.test` by alternative name), a client, and one by common name only.
fn make_certificates(dir: &Path) {
    for ca in ["ca", "other-ca"] {
        openssl(
            dir,
            &format!("req -x509 -newkey rsa:2048 -nodes -days 30 -keyout {ca}.key -out {ca}.crt -subj /CN={ca}"),
        );
    }
    std::fs::write(dir.join("san"), "subjectAltName=DNS:db.test\n").unwrap();
    for (name, common_name) in [("server", "whatever"), ("client", "certuser")] {
        openssl(
            dir,
            &format!("req -new -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={common_name}"),
        );
        openssl(
            dir,
            &format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile san -out {name}.crt"
            ),
        );
        std::fs::set_permissions(dir.join(format!("{name}.key")), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    openssl(dir, "req -x509 -newkey rsa:2048 -nodes -days 30 -keyout own.key -out own.crt -subj /CN=db.test");
}

fn give(cluster: &Cluster, from: &Path, name: &str) {
    let owner = std::fs::metadata(cluster.data()).unwrap();
    let path = cluster.data().join(name);
    std::fs::copy(from, &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// Started by the first test that asks; its guard ends it with this process.
fn secured() -> &'static Secured {
    static SECURED: OnceLock<Secured> = OnceLock::new();
    SECURED.get_or_init(|| {
        let folder = Folder::new("bucardo-tls").unwrap();
        let settings = Settings::default()
            .hba("hostssl all tlsonly 127.0.0.1/32 scram-sha-256")
            .hba("hostnossl all tlsonly 127.0.0.1/32 reject")
            .hba("hostssl all plainonly 127.0.0.1/32 reject")
            .hba("hostssl all certuser 127.0.0.1/32 cert")
            .hba("host all scram 127.0.0.1/32 scram-sha-256")
            .hba("host all old 127.0.0.1/32 md5");
        let cluster = Cluster::start(folder.path(), "secured", &settings).unwrap();
        // In the server's folder and its user's own, so that the guard can remove them.
        let files = cluster.folder().join("files");
        std::fs::create_dir(&files).unwrap();
        let owner = std::fs::metadata(cluster.data()).unwrap();
        std::os::unix::fs::chown(&files, Some(owner.uid()), Some(owner.gid())).unwrap();
        make_certificates(&files);
        for name in ["server.crt", "server.key", "ca.crt"] {
            give(&cluster, &files.join(name), name);
        }
        let roles = format!(
            "SET password_encryption = 'scram-sha-256';
             CREATE ROLE tlsonly LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE scram LOGIN PASSWORD '{PASSWORD}';
             CREATE ROLE certuser LOGIN; CREATE ROLE plainonly LOGIN;
             SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD '{PASSWORD}';
             ALTER SYSTEM SET ssl_ca_file = 'ca.crt';"
        );
        cluster.sql("postgres", &roles).unwrap();
        cluster.sql("postgres", "ALTER SYSTEM SET ssl = on").unwrap();
        cluster.sql("postgres", "SELECT pg_reload_conf()").unwrap();
        Secured { _folder: folder, cluster, files }
    })
}

/// The reload of the server's settings reaches new sessions a moment later.
async fn with_tls() -> &'static Secured {
    let secured = tokio::task::spawn_blocking(secured).await.unwrap();
    wait::until("TLS on the server", WITHIN, async || {
        connect(&secured.at("user=postgres sslmode=require")).await.map_err(|error| pg::causes(&error))
    })
    .await;
    secured
}

fn private_file(dir: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn words_and_uris_reach_the_same_server_and_set_the_session() {
    let (host, port, user) = (server().host(), server().port(), server().user());
    for conninfo in [
        format!("host={host} port={port} user={user} dbname=postgres"),
        format!("postgresql://{user}@{host}:{port}/postgres?application_name=other"),
        format!("postgres:///postgres?host={}&port={port}&user={user}", server().folder().display()),
    ] {
        let connection = connected(&conninfo).await;
        let told = "SELECT concat_ws('|', current_setting('search_path'), current_setting('DateStyle'), \
                    current_setting('TimeZone'), current_setting('client_encoding'), current_setting('client_min_messages'), \
                    current_setting('extra_float_digits'))";
        assert_eq!(value(&connection, told).await, "pg_catalog|ISO, MDY|UTC|UTF8|warning|3");
        let version = value(&connection, "SHOW server_version_num").await;
        assert_eq!(connection.server_version().to_string(), version);
        assert_eq!(connection.backend_pid().to_string(), value(&connection, "SELECT pg_backend_pid()").await);
        let name = if conninfo.contains("other") { "other" } else { "bucardo test" };
        assert_eq!(value(&connection, "SHOW application_name").await, name);
    }
}

#[tokio::test]
async fn the_service_file_says_where_and_the_password_file_with_which_password() {
    let secured = with_tls().await;
    let dir = tempfile::tempdir().unwrap();
    let port = secured.cluster.port();
    let service = format!("[mine]\nhost=127.0.0.1\nport={port}\ndbname=postgres\nuser=scram\nsslmode=disable\n");
    let service = private_file(&dir, "services", &service);
    let passwords = private_file(&dir, "passwords", &format!("127.0.0.1:{port}:*:scram:s3cr\\:et\\\\word\n"));

    let connection = connected(&format!("service=mine servicefile={service} passfile={passwords}")).await;
    assert_eq!(value(&connection, "SELECT current_user").await, "scram");

    let (error, told) = refused(&format!("service=other servicefile={service}")).await;
    assert!(told.contains("cannot use service \"other\""), "{told}");
    assert_eq!(error.failure(), Failure::Permanent);
}

#[tokio::test]
async fn every_password_method_works_and_a_wrong_password_is_not_repeated() {
    let secured = with_tls().await;
    let quoted = PASSWORD.replace('\\', "\\\\");
    for user in ["scram", "old", "tlsonly"] {
        let connection = connected(&secured.at(&format!("user={user} password='{quoted}'"))).await;
        assert_eq!(value(&connection, "SELECT current_user").await, user);
    }
    let (error, told) = refused(&secured.at("user=scram password=s3cr-wrong sslmode=require")).await;
    assert!(told.contains("password authentication failed for user \"scram\""), "{told}");
    assert!(told.contains("host=db.test"), "{told}");
    assert_eq!(error.failure(), Failure::Permanent);
    assert!(error.hint().unwrap().contains("password"));

    let (error, told) = refused(&secured.at("user=scram passfile=/nonexistent")).await;
    assert!(told.contains("password missing"), "{told}");
    assert_eq!(error.failure(), Failure::Permanent);
    assert!(error.hint().unwrap().contains(".pgpass"), "{:?}", error.hint());
}

#[tokio::test]
async fn sslmode_decides_about_encryption_and_verification() {
    let secured = with_tls().await;
    let root = secured.file("ca.crt");
    let encrypted = async |words: &str| is_encrypted(&connected(&secured.at(words)).await).await;
    assert!(encrypted("user=postgres").await, "prefer encrypts");
    assert!(!encrypted("user=postgres sslmode=disable").await);
    assert!(!encrypted("user=postgres sslmode=allow").await);
    assert!(encrypted("user=postgres sslmode=require").await);
    assert!(encrypted(&format!("user=postgres sslmode=verify-full sslrootcert={root}")).await);
    assert!(encrypted("user=postgres sslmode=require ssl_min_protocol_version=TLSv1.3").await);
    // What the server refuses one way is tried the other way.
    assert!(!encrypted("user=plainonly sslmode=prefer").await);
    let tls_only = format!("user=tlsonly password='{}' sslmode=allow", PASSWORD.replace('\\', "\\\\"));
    assert!(encrypted(&tls_only).await);
    let (_, told) = refused(&secured.at("user=plainonly sslmode=require")).await;
    assert!(told.contains("pg_hba.conf"), "{told}");

    // Another name than the certificate's: only verify-full minds.
    let other = |mode: &str| {
        let port = secured.cluster.port();
        format!("host=127.0.0.1 port={port} dbname=postgres user=postgres sslmode={mode} sslrootcert={root}")
    };
    assert!(is_encrypted(&connected(&other("verify-ca")).await).await);
    let (error, told) = refused(&other("verify-full")).await;
    assert!(told.contains("certificate"), "{told}");
    assert_eq!(error.failure(), Failure::Permanent);
    assert!(error.hint().unwrap().contains("another host name"), "{:?}", error.hint());

    // Signed by somebody else.
    let (error, _) =
        refused(&secured.at(&format!("user=postgres sslmode=verify-ca sslrootcert={}", secured.file("other-ca.crt"))))
            .await;
    assert_eq!(error.failure(), Failure::Permanent);
    assert!(error.hint().unwrap().contains("not signed by"), "{:?}", error.hint());
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_encryption_is_demanded() {
    let words = server().conninfo("postgres");
    let (error, told) = refused(&format!("{words} sslmode=require")).await;
    assert!(told.contains("server does not support TLS"), "{told}");
    assert!(error.hint().unwrap().contains("TLS"));
    assert!(!is_encrypted(&connected(&format!("{words} sslmode=prefer")).await).await);
}

#[tokio::test]
async fn scram_is_bound_to_the_channel_when_it_must_be() {
    let secured = with_tls().await;
    let words = format!("user=scram password='{}' channel_binding=require", PASSWORD.replace('\\', "\\\\"));
    assert!(is_encrypted(&connected(&secured.at(&words)).await).await);
    let (_, told) = refused(&secured.at(&format!("{words} sslmode=disable"))).await;
    assert!(told.contains("channel binding"), "{told}");
}

#[tokio::test]
async fn a_client_certificate_lets_in_and_its_key_must_be_private() {
    let secured = with_tls().await;
    let dir = tempfile::tempdir().unwrap();
    let key = private_file(&dir, "key", &std::fs::read_to_string(secured.file("client.key")).unwrap());
    let words =
        secured.at(&format!("user=certuser sslmode=require sslcert={} sslkey={key}", secured.file("client.crt")));
    assert_eq!(value(&connected(&words).await, "SELECT current_user").await, "certuser");

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (error, told) = refused(&words).await;
    assert!(told.contains("group or world access"), "{told}");
    assert_eq!(error.failure(), Failure::Permanent);
}

/// The certificate of the PostgreSQL manual's example: self-signed, a common name and no alternative name. Clients
/// get the certificate itself as their root.
#[tokio::test]
async fn a_self_signed_certificate_can_be_its_own_root() {
    let files = &with_tls().await.files;
    let folder = Folder::new("bucardo-own").unwrap();
    let cluster = Cluster::start(folder.path(), "own", &Settings::default()).unwrap();
    give(&cluster, &files.join("own.crt"), "server.crt");
    give(&cluster, &files.join("own.key"), "server.key");
    cluster.sql("postgres", "ALTER SYSTEM SET ssl = on").unwrap();
    cluster.sql("postgres", "SELECT pg_reload_conf()").unwrap();
    let at = |host: &str| {
        let (port, root) = (cluster.port(), files.join("own.crt").display().to_string());
        format!(
            "host={host} hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=verify-full sslrootcert={root}"
        )
    };
    let connection = wait::until("TLS on the server", WITHIN, async || {
        connect(&at("db.test")).await.map_err(|error| pg::causes(&error))
    })
    .await;
    assert!(is_encrypted(&connection).await);
    let (error, _) = refused(&at("other.test")).await;
    assert!(error.hint().unwrap().contains("another host name"), "{:?}", error.hint());
}

#[tokio::test]
async fn hosts_are_tried_in_turn_until_one_fits() {
    let (port, nobody) = (server().port(), free_port().unwrap());
    let words =
        |more: &str| format!("host=127.0.0.1,127.0.0.1 port={nobody},{port} user=postgres dbname=postgres {more}");
    connected(&words("")).await;
    connected(&words("target_session_attrs=primary")).await;
    connected(&words("target_session_attrs=prefer-standby")).await;
    let (error, told) = refused(&words("target_session_attrs=standby")).await;
    assert!(told.contains("refused") && told.contains("is not a standby"), "{told}");
    assert_eq!(error.failure(), Failure::Transient);
}

#[tokio::test]
async fn a_read_only_default_is_seen_and_then_overruled() {
    let database = crate::support::fresh_database("readonly").await;
    database.run(&format!("ALTER DATABASE \"{}\" SET default_transaction_read_only = on", database.name)).await;
    let (_, told) = refused(&format!("{} target_session_attrs=read-write", database.conninfo())).await;
    assert!(told.contains("is not read-write"), "{told}");
    let connection = connected(&format!("{} target_session_attrs=read-only", database.conninfo())).await;
    connection.batch_execute("CREATE TABLE public.t (id int)").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_reached_says_so_and_may_be_tried_again() {
    let port = free_port().unwrap();
    let (error, told) = refused(&format!("host=127.0.0.1 port={port} user=u dbname=d")).await;
    assert!(told.contains(&format!("cannot connect to host=127.0.0.1 port={port} dbname=d user=u")), "{told}");
    assert_eq!(error.failure(), Failure::Transient);
    assert!(error.hint().unwrap().contains("is the server running"));

    let (error, _) = refused("host=/nonexistent user=u dbname=d").await;
    assert_eq!(error.failure(), Failure::Transient);

    let (error, told) = refused(&format!("{} dbname=nowhere", server().conninfo("postgres"))).await;
    assert!(told.contains("database \"nowhere\" does not exist"), "{told}");
    assert_eq!(error.failure(), Failure::Permanent);
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_connect_timeout() {
    let proxy = Proxy::to(server().port()).await;
    proxy.stall();
    let words = format!("host=127.0.0.1 port={} user=postgres dbname=postgres connect_timeout=1", proxy.port());
    let (error, told) = refused(&words).await;
    assert!(told.contains("no answer within 1s"), "{told}");
    assert_eq!(error.failure(), Failure::Transient);
}

#[tokio::test]
async fn notifications_arrive_and_end_with_the_connection() {
    let words = server().conninfo("postgres");
    let (mut listener, other) = (connected(&words).await, connected(&words).await);
    let mut heard = listener.notifications().unwrap();
    assert!(listener.notifications().is_none());
    listener.batch_execute("LISTEN \"connect test\"").await.unwrap();
    other.batch_execute("NOTIFY \"connect test\", 'one'").await.unwrap();
    let notification = tokio::time::timeout(WITHIN, heard.recv()).await.unwrap().unwrap();
    assert_eq!((notification.payload(), notification.process_id()), ("one", other.backend_pid()));

    other.batch_execute(&format!("SELECT pg_terminate_backend({})", listener.backend_pid())).await.unwrap();
    assert!(tokio::time::timeout(WITHIN, heard.recv()).await.unwrap().is_none());
    tokio::time::timeout(WITHIN, listener.closed()).await.unwrap();
}

#[tokio::test]
async fn dropping_a_connection_ends_its_session_and_cancel_its_statement() {
    let words = server().conninfo("postgres");
    let (busy, other) = (connected(&words).await, connected(&words).await);
    let (pid, sleeps) = (busy.backend_pid(), "SELECT pg_sleep(600)");
    let running = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'");
    let cancelled = {
        let run = busy.batch_execute(sleeps);
        tokio::pin!(run);
        let seen = wait::until("the statement", WITHIN, async || {
            tokio::select! {
                result = &mut run => panic!("{result:?}"),
                count = value(&other, &running) => if count == "1" { Ok(()) } else { Err(count) },
            }
        });
        seen.await;
        busy.cancel().await;
        tokio::time::timeout(WITHIN, run).await.unwrap().unwrap_err()
    };
    assert_eq!(cancelled.code().unwrap().code(), "57014");
    drop(busy);
    wait::until_equal("the end of the session", WITHIN, &"0".to_owned(), async || {
        value(&other, &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")).await
    })
    .await;
}
