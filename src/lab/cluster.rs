//! One throwaway cluster.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::pg::{Access, ConnectError};

use super::programs::{Programs, ServerUser, clean};
use super::{LabError, free_port};

const GUARD: &str = include_str!("guard.sh");
/// The superuser of every throwaway cluster.
const USER: &str = "postgres";
const HOST: &str = "127.0.0.1";
const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const LOG_TAIL_LINES: usize = 8;

/// What differs from the defaults of a throwaway cluster.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Lines of `postgresql.conf`: name and value.
    pub conf: Vec<(String, String)>,
    /// Lines of `pg_hba.conf`, before those that trust everybody.
    pub hba: Vec<String>,
    /// The folder of the server's programs; `None`: [`Programs::find`] finds them.
    pub bindir: Option<PathBuf>,
}

impl Settings {
    /// Sets one line of `postgresql.conf`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.conf.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds one line of `pg_hba.conf`, before those that trust everybody.
    #[must_use]
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.to_owned());
        self
    }
}

/// A running, or stopped, throwaway cluster. Dropping it stops the server and removes its files.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    folder: PathBuf,
    port: u16,
    programs: Programs,
    user: Option<ServerUser>,
    running: Option<Running>,
    left: bool,
}

/// The guard, and the postmaster behind it. The guard waits for the postmaster only after its input has closed, so
/// the number stays taken, if only by a zombie, for as long as we may signal it.
#[derive(Debug)]
struct Running {
    guard: Child,
    postmaster: Pid,
}

impl Cluster {
    /// Makes a cluster in `<dir>/<name>` and starts it. `dir` must be open to other users when we are root; a
    /// [`super::Folder`] is.
    ///
    /// # Errors
    ///
    /// The programs are missing, a file cannot be written, or the server did not start; the message has the end
    /// of its log.
    pub fn start(dir: &Path, name: &str, settings: &Settings) -> Result<Self, LabError> {
        let programs = settings.bindir.as_deref().map_or_else(Programs::find, Programs::within)?;
        let user = ServerUser::needed()?;
        let folder = dir.join(name);
        fs::create_dir(&folder).map_err(LabError::files("make folder", &folder))?;
        ServerUser::own(user, &folder)?;
        let port = free_port()?;
        let mut cluster = Self { name: name.to_owned(), folder, port, programs, user, running: None, left: false };
        cluster.make(settings)?;
        cluster.start_again()?;
        Ok(cluster)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens: always 127.0.0.1.
    #[must_use]
    pub fn host(&self) -> &'static str {
        HOST
    }

    /// Where it listens; stays the same over a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser that `initdb` made.
    #[must_use]
    pub fn user(&self) -> &'static str {
        USER
    }

    /// The folder with its data, log and socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The programs it runs from.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The words that reach one of its databases.
    #[must_use]
    pub fn conninfo(&self, dbname: &str) -> String {
        format!("host={HOST} port={} user={USER} dbname={dbname}", self.port)
    }

    /// How the rest of the program reaches one of its databases.
    ///
    /// # Errors
    ///
    /// None that these words can cause; it is the parser's type.
    pub fn access(&self, dbname: &str) -> Result<Access, ConnectError> {
        let mut access = Access::parse(&self.conninfo(dbname))?;
        access.set("sslmode", "disable")?;
        Ok(access)
    }

    /// The command line that opens one of its databases in `psql`.
    #[must_use]
    pub fn psql_line(&self, dbname: &str) -> String {
        format!("psql -h {HOST} -p {} -U {USER} {dbname}", self.port)
    }

    /// A client program (`psql`, `pgbench`, `pg_dump`, …) with the options that reach this cluster; the database
    /// is left to the caller.
    #[must_use]
    pub fn client(&self, program: &str) -> Command {
        let mut command = self.programs.command(program);
        command.args(["-h", HOST, "-p", &self.port.to_string(), "-U", USER]).stdin(Stdio::null());
        command
    }

    /// Runs SQL through `psql`, statement by statement, and returns what it printed: unaligned rows without headings.
    ///
    /// # Errors
    ///
    /// [`LabError::Failed`]: the server refused a statement.
    pub fn sql(&self, dbname: &str, sql: &str) -> Result<String, LabError> {
        let mut psql = self.client("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", dbname, "-f", "-"]).stdin(Stdio::piped());
        let program = self.programs.path("psql");
        let run = |source| LabError::Run { program: program.clone(), source };
        let mut child = psql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(run)?;
        let input = child.stdin.take();
        let text = sql.to_owned();
        // psql may print while it still reads.
        let writer = thread::spawn(move || input.map(|mut input| input.write_all(text.as_bytes())));
        let output = child.wait_with_output().map_err(run)?;
        // A psql that stopped reading failed, and says why itself.
        let _ = writer.join();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
        } else {
            Err(LabError::Failed { program, told: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
        }
    }

    /// Starts the server after [`Self::stop`] or [`Self::kill_hard`], on the same port, and waits until it answers.
    ///
    /// # Errors
    ///
    /// The server ended or was too slow; the message has the end of its log.
    pub fn start_again(&mut self) -> Result<(), LabError> {
        if self.running.is_some() {
            return Ok(());
        }
        let program = PathBuf::from("/bin/sh");
        let run = |source| LabError::Run { program: program.clone(), source };
        let mut command = clean(Command::new(&program));
        command.args(["-c", GUARD, "bucardo-lab"]).arg(&self.folder);
        command.arg(self.programs.path("postgres")).arg("-D").arg(self.data());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).current_dir(&self.folder);
        // Its own group: a Ctrl-C at the terminal is for us, and we end the server in order.
        command.process_group(0);
        ServerUser::run(self.user, &mut command);
        let mut guard = command.spawn().map_err(run)?;
        let mut line = String::new();
        if let Some(out) = guard.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(run)?;
        }
        let Some(postmaster) = line.trim().parse().ok().and_then(Pid::from_raw) else {
            return Err(LabError::Ended { name: self.name.clone(), log: self.log_tail() });
        };
        self.running = Some(Running { guard, postmaster });
        self.wait_ready(postmaster)
    }

    /// Ends all sessions and stops the server ("fast"); its files stay. Does nothing when it is stopped.
    ///
    /// # Errors
    ///
    /// [`LabError::TooSlow`]: it had to be killed.
    pub fn stop(&mut self) -> Result<(), LabError> {
        self.end("stop")
    }

    /// Stops and starts the server.
    ///
    /// # Errors
    ///
    /// As [`Self::stop`] and [`Self::start_again`].
    pub fn restart(&mut self) -> Result<(), LabError> {
        self.stop()?;
        self.start_again()
    }

    /// Kills the postmaster and all its processes with SIGKILL: what a power failure looks like from outside.
    ///
    /// # Errors
    ///
    /// As [`Self::stop`].
    pub fn kill_hard(&mut self) -> Result<(), LabError> {
        if let Some(running) = &self.running {
            // Held still, it starts no further children while we collect them.
            let _ = kill_process(running.postmaster, Signal::STOP);
            let children = children(running.postmaster);
            let _ = kill_process(running.postmaster, Signal::KILL);
            for child in &children {
                let _ = kill_process(*child, Signal::KILL);
            }
            let deadline = Instant::now() + END_WITHIN;
            while children.iter().any(|child| alive(*child)) && Instant::now() < deadline {
                thread::sleep(LOOK_EVERY);
            }
        }
        self.stop()
    }

    /// Leaves the server running for good, beyond the end of this process, and its files.
    pub fn leave(mut self) {
        if let Some(mut running) = self.running.take() {
            tell(&mut running.guard, "leave");
            let _ = running.guard.wait();
            self.left = true;
        }
    }

    /// The number of the postmaster's process while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.running.as_ref().map(|running| running.postmaster.as_raw_nonzero().get())
    }

    /// The numbers of its processes, the postmaster's first. A process may be gone, and another one started, by the time
    /// that the caller looks.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let Some(running) = &self.running else { return Vec::new() };
        let all = std::iter::once(running.postmaster).chain(children(running.postmaster));
        all.map(|pid| pid.as_raw_nonzero().get()).collect()
    }

    /// Ends the postmaster and all its processes at once ("immediate"), without a checkpoint.
    ///
    /// # Errors
    ///
    /// As [`Self::stop`].
    pub fn stop_immediately(&mut self) -> Result<(), LabError> {
        if let Some(running) = &self.running {
            // It may have died by itself.
            let _ = kill_process(running.postmaster, Signal::QUIT);
        }
        self.stop()
    }

    fn make(&self, settings: &Settings) -> Result<(), LabError> {
        let program = self.programs.path("initdb");
        let mut initdb = self.programs.command("initdb");
        initdb.args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-D"]).arg(self.data());
        initdb.stdin(Stdio::null()).current_dir(&self.folder);
        ServerUser::run(self.user, &mut initdb);
        let output = initdb.output().map_err(|source| LabError::Run { program: program.clone(), source })?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(LabError::Failed { program, told });
        }
        let mut conf = format!(
            "listen_addresses = '{HOST}'\nport = {}\nunix_socket_directories = '{}'\n\
             fsync = off\nfull_page_writes = off\nmax_connections = 200\ntimezone = 'UTC'\n\
             dynamic_shared_memory_type = mmap\nlog_line_prefix = '%m [%p] %a '\n",
            self.port,
            self.folder.display(),
        );
        for (name, value) in &settings.conf {
            conf.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        append(&self.data().join("postgresql.conf"), &conf)?;
        let path = self.data().join("pg_hba.conf");
        let trust = fs::read_to_string(&path).map_err(LabError::files("read", &path))?;
        let lines: String = settings.hba.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, lines + &trust).map_err(LabError::files("write", &path))
    }

    fn wait_ready(&mut self, postmaster: Pid) -> Result<(), LabError> {
        let deadline = Instant::now() + READY_WITHIN;
        while !answers(self.port) {
            if !alive(postmaster) {
                let log = self.log_tail();
                self.end("stop")?;
                return Err(LabError::Ended { name: self.name.clone(), log });
            }
            if Instant::now() > deadline {
                return Err(self.too_slow("become ready", READY_WITHIN));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn end(&mut self, order: &str) -> Result<(), LabError> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        tell(&mut running.guard, order);
        if ended(&mut running.guard, END_WITHIN) {
            return Ok(());
        }
        let _ = kill_process(running.postmaster, Signal::QUIT);
        if !ended(&mut running.guard, ANSWER_WITHIN) {
            let _ = kill_process(running.postmaster, Signal::KILL);
            let _ = running.guard.wait();
        }
        Err(self.too_slow("stop", END_WITHIN))
    }

    fn too_slow(&self, what: &'static str, within: Duration) -> LabError {
        LabError::TooSlow { name: self.name.clone(), what, within, log: self.log_tail() }
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join(" | ")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // Anything but the word "stop" makes the guard remove the files.
        let _ = self.end("remove");
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn tell(guard: &mut Child, order: &str) {
    if let Some(mut input) = guard.stdin.take() {
        // A guard that is gone has ended its server.
        let _ = writeln!(input, "{order}");
    }
}

fn ended(guard: &mut Child, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    loop {
        match guard.try_wait() {
            Ok(None) if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}

fn append(path: &Path, text: &str) -> Result<(), LabError> {
    let mut file = fs::OpenOptions::new().append(true).open(path).map_err(LabError::files("open", path))?;
    file.write_all(text.as_bytes()).map_err(LabError::files("write", path))
}

/// Whether the server lets us in: a start-up message by hand, to be told from "the database system is starting up".
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let words = format!("user\0{USER}\0database\0{USER}\0\0");
        let length = u32::try_from(words.len() + 8).map_err(|_| std::io::Error::from(ErrorKind::InvalidInput))?;
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&[0, 3, 0, 0])?;
        stream.write_all(words.as_bytes())?;
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        if kind[0] == b'R' {
            stream.write_all(&[b'X', 0, 0, 0, 4])?;
        }
        Ok(kind[0] == b'R')
    };
    ask().unwrap_or(false)
}

/// State and parent of a process, from `/proc/<pid>/stat`.
fn stat(pid: &str) -> Option<(char, i32)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = line.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn alive(pid: Pid) -> bool {
    stat(&pid.as_raw_nonzero().to_string()).is_some_and(|(state, _)| state != 'Z')
}

fn children(parent: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| stat(name).is_some_and(|(_, its_parent)| its_parent == parent.as_raw_nonzero().get()))
        .filter_map(|name| name.parse().ok().and_then(Pid::from_raw))
        .collect()
}
