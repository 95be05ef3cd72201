//! The command line: reads words and options, runs one command, and ends with its exit code.
//!
//! A command edits what is wanted in the control database and works while the daemon is down. One module per verb or
//! noun, each with `pub async fn run(ctx: &Context) -> Outcome`.

mod adopt;
mod args;
mod at_sources;
mod catalog_verbs;
mod choose;
mod chosen;
mod classic;
mod clone;
mod completion;
mod conflict;
mod control;
mod copying;
mod customcode;
mod db;
mod dbgroup;
mod deadletter;
mod delta;
mod demo;
mod doctor;
mod document;
mod ear;
mod error;
mod help;
mod inspect;
mod install;
mod kick;
mod lock_wait;
mod manpage;
mod mapping;
mod message;
mod output;
mod pgpass;
mod ping;
mod process;
mod purge;
mod rc;
mod relations;
mod relay;
mod relgroup;
mod reload;
mod reopen;
mod settings;
mod start;
mod status;
mod status_classic;
mod status_detail;
mod status_merge;
mod stop;
mod strategy;
mod sync;
mod sync_add;
mod table;
mod targets;
mod trial;
mod uninstall;
mod update;
mod upgrade;
mod validate;
pub mod words;

pub use args::{Options, Secret};
pub use error::{CliError, EXIT_DIED, EXIT_USAGE};
pub use help::section;
pub use output::{Output, quoted};
pub use rc::RcFile;

use tokio_postgres::Transaction;

use crate::catalog::Control;
use crate::config::Layers;
use crate::pg::Access;
use crate::progress;

/// What a command ends with: its exit code, or why it failed.
pub type Outcome = Result<u8, CliError>;

/// Everything that a command knows of its call.
#[derive(Clone, Debug)]
pub struct Context {
    /// Name of the program, as it was called.
    pub program: String,
    /// Called by the name of versions 3 and 4: their words and formats count.
    pub is_classic: bool,
    /// Options of the command line and the rc file.
    pub options: Options,
    /// Those of the command line as [`Options::again`] gives them on.
    pub again: Vec<String>,
    /// The rc file; entries that are no options are settings for the daemon and win over the table.
    pub rc: RcFile,
    /// The verb, in its one spelling.
    pub verb: String,
    /// The words after the verb, as typed.
    pub words: Vec<String>,
    /// Where the output goes.
    pub out: Output,
}

/// Runs the command line `args` (with the program's name first) and returns the exit code.
#[must_use]
pub fn main(args: &[String]) -> u8 {
    let ended = Context::read(args).and_then(|ctx| start(&ctx));
    progress::end();
    match ended {
        Ok(code) => match output::failure() {
            Some(error) => {
                crate::report::failed(&format!("Cannot write the output: {error}"), None);
                code.max(EXIT_USAGE)
            }
            None => code,
        },
        Err(error) => {
            crate::report::failed(&error.message, error.hint.as_deref());
            error.code
        }
    }
}

impl Context {
    /// Reads the command line and the rc file.
    ///
    /// # Errors
    ///
    /// Usage errors, with exit code 1.
    pub fn read(args: &[String]) -> Result<Self, CliError> {
        if args.len() <= 1 {
            return Err(CliError::usage("overview"));
        }
        let called = args.first().map_or("bucardo", |path| path.rsplit('/').next().unwrap_or(path));
        // Without the extra name that a start has given it.
        let program = called.split(" (").next().unwrap_or(called).to_owned();
        let is_classic = program.starts_with(classic::PROGRAM);
        let args = &if is_classic { classic::options(args) } else { args.to_vec() };
        let given = Options::read(args)?;
        let (rc, warnings) = RcFile::find(&given)?;
        let options = Options::read_with_rc(args, &rc)?;
        let again = Options::again(args)?;
        let out = Output::new(options.quiet > 0, options.verbosity(), options.json);
        for warning in warnings {
            out.warn(warning);
        }
        let mut words = options.words.clone().into_iter();
        let (verb, noun) = words.next().map(|word| words::verb(&word)).unwrap_or_default();
        let words: Vec<String> = noun.into_iter().chain(words).collect();
        let words = if is_classic { classic::words(&verb, words) } else { words };
        Ok(Self { program, is_classic, options, again, rc, verb, words, out })
    }

    /// What options and rc file say of the control database; true: with a whole connection string.
    fn named_access(&self) -> Result<(Access, bool), CliError> {
        let named = self.options.dbname.as_deref().unwrap_or_default();
        let whole = named.contains('=') || named.starts_with("postgres://") || named.starts_with("postgresql://");
        let mut access = if whole { Access::parse(named)? } else { Access::new() };
        if !whole {
            access.set("dbname", named)?;
        }
        let options = &self.options;
        let given = [
            ("host", options.dbhost.as_deref()),
            ("port", options.dbport.as_deref()),
            ("user", options.dbuser.as_deref()),
            ("password", options.dbpass.as_ref().map(Secret::reveal)),
        ];
        for (keyword, value) in given {
            if let Some(value) = value {
                access.set(keyword, value)?;
            }
        }
        if let Some(password) = relay::password(self) {
            access.set("password", &password)?;
        }
        Ok((access, whole))
    }

    /// How to reach the control database: options and rc file, then `[control]` of the settings, which is database
    /// and user `bucardo` where nobody says otherwise.
    ///
    /// # Errors
    ///
    /// A connection string or settings that cannot be read.
    pub fn control_access(&self) -> Result<Access, CliError> {
        let (mut access, whole) = self.named_access()?;
        let layers = Layers { file: self.options.config.as_ref().map(Into::into), ..Layers::default() };
        let settings = layers.load().map_err(|error| CliError::refuse(crate::report::causes(&error)))?;
        settings.control.fill(&mut access, whole)?;
        Ok(access)
    }

    /// Opens the control database.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or has no catalog of this program.
    pub async fn control(&self) -> Result<Control, CliError> {
        Ok(Box::pin(Control::open(&self.control_access()?, "bucardo CLI")).await?)
    }

    /// Ends a change: not at all with `--dry-run`, after asking with `--confirm`. True: it is committed.
    ///
    /// # Errors
    ///
    /// The server refused the commit; then nothing is changed.
    pub async fn finish(&self, transaction: Transaction<'_>) -> Result<bool, CliError> {
        let failed = |error: tokio_postgres::Error| CliError::caused("Could not commit the changes", &error);
        if self.options.dry_run {
            transaction.rollback().await.map_err(failed)?;
            self.out.detail("Dry run: nothing was changed");
            return Ok(false);
        }
        if self.confirms() {
            if !self.confirmed() {
                transaction.rollback().await.map_err(failed)?;
                self.out.say("Changes have been rolled back");
                return Ok(false);
            }
            transaction.commit().await.map_err(failed)?;
            self.out.say("Changes have been committed");
            return Ok(true);
        }
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    /// Asks whether to commit.
    fn confirmed(&self) -> bool {
        let answer = self.out.ask("Commit the changes? Y/N ").unwrap_or_default();
        answer.to_lowercase().starts_with('y')
    }

    /// The environment or an option asks for `--confirm`.
    fn confirms(&self) -> bool {
        let asked = std::env::var("BUCARDO_CONFIRM").is_ok_and(|value| words::boolean(&value) == Some(true));
        self.options.confirm || asked
    }
}

/// Answers what needs no runtime, and starts one for the rest.
fn start(ctx: &Context) -> Outcome {
    if ctx.options.version {
        ctx.out.always(format!("{} version {}", ctx.program, env!("CARGO_PKG_VERSION")));
        return Ok(0);
    }
    if ctx.options.man_page {
        ctx.out.always(manpage::render().map_err(|error| CliError::caused("Cannot write the manual page", &error))?);
        return Ok(0);
    }
    if ctx.options.help || ctx.verb == "help" {
        let asked: Vec<String> = if ctx.verb == "help" { ctx.words.clone() } else { ctx.options.words.clone() };
        let text = help::lookup(&asked)
            .ok_or_else(|| CliError::refuse(format!("There is no help on \"{}\"", asked.join(" "))))?;
        ctx.out.always(text);
        return Ok(0);
    }
    if ctx.verb.is_empty() {
        return Err(CliError::refuse("Missing required command"));
    }
    if ctx.options.dry_run && AT_ONCE.contains(&ctx.verb.as_str()) {
        return Err(CliError::refuse(format!(
            "\"{}\" acts at once and knows no --dry-run: nothing was done",
            ctx.verb
        )));
    }
    if ctx.verb == "start" && ctx.options.foreground {
        return start::foreground(ctx);
    }
    if !(ctx.out.is_quiet() || OWN_LINES.contains(&ctx.verb.as_str()) || ctx.options.watch.is_some()) {
        progress::begin(&ctx.verb);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::caused("cannot start the runtime", &error))?;
    runtime.block_on(dispatch(ctx))
}

/// Verbs that tell themselves what they are at, or speak to a program.
const OWN_LINES: [&str; 7] = ["completion", completion::VERB, "demo", "kick", "ping", "restart", "start"];

/// Verbs that act at once: what they do is no change of the catalog that could be taken back.
const AT_ONCE: [&str; 14] = [
    "activate",
    "deactivate",
    "demo",
    "kick",
    "pause",
    "purge",
    "reload",
    "reopen",
    "restart",
    "resume",
    "retry",
    "start",
    "stop",
    "validate",
];

/// One arm a verb; each future is boxed, so that the sum of them does not lie on the stack.
async fn dispatch(ctx: &Context) -> Outcome {
    match ctx.verb.as_str() {
        "add" => Box::pin(catalog_verbs::add(ctx)).await,
        "list" => Box::pin(catalog_verbs::list(ctx)).await,
        "remove" => Box::pin(catalog_verbs::remove(ctx)).await,
        "update" => Box::pin(catalog_verbs::update(ctx)).await,
        "show" => Box::pin(settings::show(ctx, &ctx.words)).await,
        "set" => Box::pin(settings::set(ctx, &ctx.words)).await,
        "config" => Box::pin(settings::config(ctx, &ctx.words)).await,
        "doctor" => Box::pin(doctor::run(ctx)).await,
        "inspect" => Box::pin(inspect::run(ctx)).await,
        "uninstall" => Box::pin(uninstall::run(ctx)).await,
        "upgrade" => Box::pin(upgrade::run(ctx)).await,
        "adopt" => Box::pin(adopt::run(ctx)).await,
        "export" => Box::pin(document::export(ctx)).await,
        "clone" => Box::pin(clone::run(ctx)).await,
        "plan" => Box::pin(document::plan(ctx)).await,
        "apply" => Box::pin(document::apply(ctx)).await,
        "install" => Box::pin(install::run(ctx)).await,
        "demo" => Box::pin(demo::run(ctx)).await,
        "start" => Box::pin(start::run(ctx)).await,
        "stop" => Box::pin(stop::run(ctx)).await,
        "restart" => Box::pin(stop::restart(ctx)).await,
        "ping" => Box::pin(ping::run(ctx)).await,
        "reload" => Box::pin(reload::run(ctx)).await,
        "reopen" => Box::pin(reopen::run(ctx)).await,
        "message" => Box::pin(message::run(ctx)).await,
        "activate" => Box::pin(control::set_active(ctx, true)).await,
        "deactivate" => Box::pin(control::set_active(ctx, false)).await,
        "pause" => Box::pin(control::set_paused(ctx, true)).await,
        "resume" => Box::pin(control::set_paused(ctx, false)).await,
        "kick" => Box::pin(kick::run(ctx)).await,
        "delta" => Box::pin(delta::run(ctx)).await,
        "retry" => Box::pin(deadletter::retry(ctx)).await,
        "purge" => Box::pin(purge::run(ctx)).await,
        "status" => Box::pin(watch(ctx)).await,
        "completion" => completion::script(ctx),
        completion::VERB => Box::pin(completion::answer(ctx)).await,
        "validate" => Box::pin(validate::run(ctx)).await,
        "test" => Box::pin(trial::run(ctx)).await,
        other => Err(unknown(other)),
    }
}

/// `status`, with `--watch` until it is interrupted or fails.
async fn watch(ctx: &Context) -> Outcome {
    let Some(seconds) = ctx.options.watch else { return Box::pin(status::run(ctx)).await };
    let every = std::time::Duration::from_secs(seconds.clamp(1, 86_400));
    loop {
        ctx.out.fresh_page(&format!(
            "Every {} s: {} status, {}",
            every.as_secs(),
            ctx.program,
            chrono::Local::now().format("%H:%M:%S")
        ));
        Box::pin(status::run(ctx)).await?;
        tokio::time::sleep(every).await;
    }
}

fn unknown(verb: &str) -> CliError {
    let usage = CliError::usage("overview");
    CliError::refuse(format!("Unknown command \"{verb}\"\n{}", usage.message)).suggest(verb, words::verbs())
}
