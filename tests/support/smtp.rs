//! A mail server that keeps what it is given, refuses it, or hangs. Threads and blocking sockets: it must not lean on the
//! runtime of the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wait;

const WITHIN: Duration = Duration::from_secs(20);

/// One mail, as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mail {
    /// The sender of the envelope.
    pub(crate) from: String,
    /// The recipients of the envelope.
    pub(crate) to: Vec<String>,
    /// User and password, with a NUL before each.
    pub(crate) login: String,
    /// Whether it came through TLS.
    pub(crate) secret: bool,
    /// Headers, an empty line, the body; lines end in a line feed.
    pub(crate) text: String,
}

impl Mail {
    /// The value of a header, which must be there once.
    pub(crate) fn header(&self, name: &str) -> String {
        let head = self.text.split("\n\n").next().unwrap_or_default().replace("\n ", " ");
        let prefix = format!("{}:", name.to_lowercase());
        let mut found = head.lines().filter(|line| line.to_lowercase().starts_with(&prefix));
        let line = found.next().unwrap_or_else(|| panic!("no {name} in {head}"));
        assert!(found.next().is_none(), "{name} twice in {head}");
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    }

    /// What follows the headers, with the soft line ends of quoted-printable taken out.
    pub(crate) fn body(&self) -> String {
        let body = self.text.split_once("\n\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        body.replace("=\n", "").replace("=3D", "=")
    }
}

/// What the server does with those who come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes mail.
    Takes,
    /// Refuses every recipient, for the time being.
    Refuses,
    /// Takes the connection and says nothing.
    Hangs,
}

struct Shared {
    mails: Mutex<Vec<Mail>>,
    mood: Mutex<Mood>,
    visits: Mutex<usize>,
    tls: Option<Arc<ServerConfig>>,
    /// TLS from the first byte.
    at_once: bool,
}

/// A mail server. It ends with the test.
pub(crate) struct MailServer {
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

impl MailServer {
    /// Without TLS; whoever wants to says a password.
    pub(crate) fn start() -> Self {
        Self::with(None, false)
    }

    /// With STARTTLS, and authentication after that.
    pub(crate) fn with_starttls(certificate: &Path, key: &Path) -> Self {
        Self::with(Some(tls(certificate, key)), false)
    }

    /// With TLS from the first byte, as on port 465, and authentication.
    pub(crate) fn with_tls(certificate: &Path, key: &Path) -> Self {
        Self::with(Some(tls(certificate, key)), true)
    }

    fn with(tls: Option<Arc<ServerConfig>>, at_once: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mails, mood, visits) = (Mutex::default(), Mutex::new(Mood::Takes), Mutex::default());
        let shared = Arc::new(Shared { mails, mood, visits, tls, at_once });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&served);
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { port, shared }
    }

    pub(crate) fn become_(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// How many have come.
    pub(crate) fn visits(&self) -> usize {
        *self.shared.visits.lock().unwrap()
    }

    /// All mails so far.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.shared.mails.lock().unwrap().clone()
    }

    /// Waits for a mail with this in its subject.
    pub(crate) async fn gets(&self, subject: &str) -> Mail {
        wait::until(&format!("a mail \"{subject}\""), WITHIN, async || {
            let mails = self.mails();
            let found = mails.iter().find(|mail| mail.header("Subject").contains(subject));
            found.cloned().ok_or_else(|| mails.iter().map(|mail| mail.header("Subject")).collect::<Vec<_>>())
        })
        .await
    }
}

fn tls(certificate: &Path, key: &Path) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

trait Line: Read + Write + Send {}
impl<T: Read + Write + Send> Line for T {}

fn serve(shared: &Shared, stream: TcpStream) {
    *shared.visits.lock().unwrap() += 1;
    let mood = *shared.mood.lock().unwrap();
    if mood == Mood::Hangs {
        // Until the other end gives up.
        let _ = (&stream).read(&mut [0; 1]);
        let _ = (&stream).read(&mut [0; 1]);
        return;
    }
    let line: Box<dyn Line> = Box::new(stream.try_clone().unwrap());
    let mut talk = Talk { line: BufReader::new(line), mail: Mail::default() };
    if shared.at_once {
        talk.wrap(shared, &stream);
    }
    talk.say("220 mail.test ESMTP");
    // Whoever hangs up has nothing more to say.
    let _ = talk.run(shared, mood, stream);
}

struct Talk {
    line: BufReader<Box<dyn Line>>,
    mail: Mail,
}

impl Talk {
    fn say(&mut self, words: &str) {
        let _ = self.line.get_mut().write_all(format!("{words}\r\n").as_bytes());
        let _ = self.line.get_mut().flush();
    }

    fn hear(&mut self) -> Option<String> {
        let mut words = String::new();
        match self.line.read_line(&mut words) {
            Ok(1..) => Some(words.trim_end_matches(['\r', '\n']).to_owned()),
            _ => None,
        }
    }

    /// From here on everything goes through TLS.
    fn wrap(&mut self, shared: &Shared, stream: &TcpStream) {
        let tls = ServerConnection::new(Arc::clone(shared.tls.as_ref().unwrap())).unwrap();
        self.line = BufReader::new(Box::new(StreamOwned::new(tls, stream.try_clone().unwrap())));
        self.mail.secret = true;
    }

    fn run(&mut self, shared: &Shared, mood: Mood, stream: TcpStream) -> Option<()> {
        loop {
            let words = self.hear()?;
            let (verb, rest) = words.split_once(' ').unwrap_or((&words, ""));
            match verb.to_uppercase().as_str() {
                "EHLO" if shared.tls.is_some() && !self.mail.secret => self.say("250-mail.test\r\n250 STARTTLS"),
                "EHLO" => self.say("250-mail.test\r\n250 AUTH PLAIN"),
                "STARTTLS" => {
                    self.say("220 go on");
                    self.wrap(shared, &stream);
                }
                "AUTH" => {
                    self.mail.login = rest.trim_start_matches("PLAIN ").to_owned();
                    self.say("235 welcome");
                }
                "MAIL" => {
                    self.mail.from = rest.to_owned();
                    self.say("250 ok");
                }
                "RCPT" if mood == Mood::Refuses => self.say("451 try again later"),
                "RCPT" => {
                    self.mail.to.push(rest.to_owned());
                    self.say("250 ok");
                }
                "DATA" => {
                    self.say("354 go on");
                    loop {
                        let line = self.hear()?;
                        if line == "." {
                            break;
                        }
                        self.mail.text.push_str(line.strip_prefix('.').unwrap_or(&line));
                        self.mail.text.push('\n');
                    }
                    shared.mails.lock().ok()?.push(self.mail.clone());
                    self.say("250 taken");
                }
                "QUIT" => {
                    self.say("221 bye");
                    return Some(());
                }
                _ => self.say("250 ok"),
            }
        }
    }
}
