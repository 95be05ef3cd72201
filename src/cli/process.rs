//! What the verbs about the daemon's process share: its settings, its PID file, stop file and reasons.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{CliError, Context};
use crate::adapters::changed_settings;
use crate::catalog::{CatalogError, Control, settings};
use crate::config::{Layers, Settings};
use crate::daemon::piddir;
use crate::daemon::pidfile::Presence;
use crate::pg::{Access, causes};

/// The process of the daemon, as this command line describes it.
pub(super) struct Process {
    /// All settings.
    pub(super) settings: Settings,
    /// Where they came from, without those of the control database.
    pub(super) layers: Layers,
    /// The control database.
    pub(super) access: Access,
}

impl Process {
    /// Reads the settings, those of the control database included, from `control`.
    pub(super) async fn load(ctx: &Context, control: &Control) -> Result<Self, CliError> {
        let found = settings::load(control.client()).await?;
        Self::with_catalog(ctx, &found)
    }

    /// Reads the settings; those of the control database only where it answers.
    pub(super) async fn load_if_reachable(ctx: &Context) -> Result<Self, CliError> {
        if ctx.options.piddir.is_some() {
            return Self::without_catalog(ctx);
        }
        match read_catalog(ctx).await {
            Ok(found) => Self::with_catalog(ctx, &found),
            Err(error) => {
                ctx.out.warn(format!("going on without the control database: {}", causes(&error)));
                Self::without_catalog(ctx)
            }
        }
    }

    /// Reads the settings, and adds what was `found` in the control database.
    pub(super) fn with_catalog(ctx: &Context, found: &settings::Settings) -> Result<Self, CliError> {
        let layers = layers(ctx)?;
        let all = Layers { catalog: changed_settings(found), ..layers.clone() };
        Ok(Self { settings: load(&all)?, layers, access: ctx.control_access()? })
    }

    /// Reads the settings without those of the control database.
    pub(super) fn without_catalog(ctx: &Context) -> Result<Self, CliError> {
        let layers = layers(ctx)?;
        Ok(Self { settings: load(&layers)?, layers, access: ctx.control_access()? })
    }

    /// What the PID file says.
    pub(super) fn presence(&self) -> Result<Presence, CliError> {
        let path = self.settings.daemon.pid_file();
        Presence::of(&path).map_err(|error| CliError::refuse(format!("Cannot read \"{}\": {error}", path.display())))
    }

    /// Appends to the history of reasons, and makes this the last one. A line that cannot be written is told, and
    /// is no reason not to go on.
    pub(super) fn note_reason(&self, ctx: &Context, event: &str) {
        let now = chrono::Local::now().format("%a %b %e %H:%M:%S %Y");
        let line = format!("{now} | {event:<5} | {}\n", reason(ctx));
        let last = self.settings.daemon.reason_path();
        let history = PathBuf::from(format!("{}.log", last.display()));
        let written = [(&last, piddir::replace(&last, &line)), (&history, piddir::append(&history, &line))];
        let failed = written.into_iter().find_map(|(path, written)| Some((path, written.err()?)));
        let Some((path, error)) = failed else { return };
        ctx.out.warn(format!("Cannot write the reason to \"{}\": {error}", path.display()));
        if path == &history && error.kind() == ErrorKind::PermissionDenied && path.exists() {
            let (directory, path) = (piddir::directory(path), path.display());
            ctx.out.warn(format!(
                "give it to the account of the daemon: chown --reference=\"{}\" \"{path}\"",
                directory.display()
            ));
        }
    }
}

/// Why the operator wants it, in one line.
pub(super) fn reason(ctx: &Context) -> String {
    ctx.words.join(" ").replace(char::is_control, " ")
}

async fn read_catalog(ctx: &Context) -> Result<settings::Settings, CatalogError> {
    let access = ctx.control_access().map_err(|error| CatalogError::Value {
        what: "the options of the control database".to_owned(),
        why: error.message,
    })?;
    let control = Box::pin(Control::open(&access, "bucardo CLI")).await?;
    settings::load(control.client()).await
}

fn load(layers: &Layers) -> Result<Settings, CliError> {
    layers.load().map_err(|error| CliError::refuse(causes(&error)))
}

/// The layers that the command line and the rc file name.
fn layers(ctx: &Context) -> Result<Layers, CliError> {
    let options = &ctx.options;
    let mut rc = ctx.rc.entries.clone();
    rc.extend(options.log_level.iter().map(|level| ("log_level".to_owned(), level.clone())));
    let mut set: Vec<(&'static str, config::Value)> = Vec::new();
    if let Some(piddir) = &options.piddir {
        set.push(("daemon.piddir", absolute(Path::new(piddir))?.display().to_string().into()));
    }
    let destinations = options.log_destinations();
    if !destinations.is_empty() {
        let known = |name: &str| matches!(name, "none" | "syslog" | "journald" | "stdout" | "stderr");
        let whole = |name: &String| match known(name) {
            true => Ok(name.clone()),
            false => absolute(Path::new(name)).map(|path| path.display().to_string()),
        };
        set.push(("log.destinations", destinations.iter().map(whole).collect::<Result<Vec<_>, _>>()?.into()));
    }
    if let Some(extension) = &options.log_extension {
        set.push(("log.extension", extension.clone().into()));
    }
    if let Some(file) = &options.warning_file {
        set.push(("log.warning_file", file.clone().into()));
    }
    if let Some(format) = &options.log_format {
        set.push(("log.format", format.to_lowercase().into()));
    }
    if options.log_separate {
        set.push(("log.separate", true.into()));
    }
    if let Some(sendmail) = &options.sendmail {
        rc.push(("sendmail".to_owned(), sendmail.clone()));
    }
    if let Some(file) = std::env::var_os("BUCARDO_EMAIL_DEBUG_FILE").filter(|file| !file.is_empty()) {
        set.push(("mail.debug_file", absolute(Path::new(&file))?.display().to_string().into()));
    }
    if options.log_showline {
        set.push(("log.show_line", true.into()));
    }
    Ok(Layers { file: options.config.as_ref().map(PathBuf::from), catalog: Vec::new(), rc, options: set })
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path)
        .map_err(|error| CliError::refuse(format!("\"{}\" is no usable path: {error}", path.display())))
}
