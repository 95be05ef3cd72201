//! The rc file: options and settings that hold for every command.

use std::path::{Path, PathBuf};

use super::args::Options;
use super::error::CliError;

/// What an rc file says, in its order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RcFile {
    /// The file.
    pub path: String,
    /// Names and values. Those that are no options are settings for the daemon.
    pub entries: Vec<(String, String)>,
}

/// Values may be passwords, so they are not shown.
impl std::fmt::Debug for RcFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RcFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RcFile {
    /// Reads the file named by `--bucardorc`, else the first of `./.bucardorc`, `~/.bucardorc` and
    /// `/etc/bucardorc` that exists. The second value are warnings.
    ///
    /// # Errors
    ///
    /// The named file does not exist, or a file that exists cannot be read.
    pub fn find(options: &Options) -> Result<(Self, Vec<String>), CliError> {
        if options.no_bucardorc {
            return Ok((Self::default(), Vec::new()));
        }
        if let Some(named) = &options.bucardorc {
            if !Path::new(named).is_file() {
                return Err(CliError::die(format!("Could not find the file \"{named}\"")));
            }
            return Self::load(Path::new(named));
        }
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".bucardorc"));
        let places = [Some(PathBuf::from(".bucardorc")), home, Some(PathBuf::from("/etc/bucardorc"))];
        match places.into_iter().flatten().find(|place| place.is_file()) {
            Some(place) => Self::load(&place),
            None => Ok((Self::default(), Vec::new())),
        }
    }

    fn load(path: &Path) -> Result<(Self, Vec<String>), CliError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| CliError::die(format!("Could not read the file \"{name}\": {error}")))?;
        Ok(Self::parse(&name, &text))
    }

    /// Reads lines `name = value` or `name : value`; `#` starts a comment line. The second value are warnings.
    #[must_use]
    pub fn parse(path: &str, text: &str) -> (Self, Vec<String>) {
        let mut file = Self { path: path.to_owned(), entries: Vec::new() };
        let mut warnings = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match entry(line) {
                Some(entry) => file.entries.push(entry),
                None => warnings.push(format!("Could not parse line {} of file \"{path}\"", index + 1)),
            }
        }
        (file, warnings)
    }
}

fn entry(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(['=', ':'])?;
    let name = name.trim().trim_start_matches("--");
    let sane =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    sane.then(|| (name.to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_names_and_values() {
        let text = "# comment\n\n dbhost = db.example\ndbport : 5433\npiddir=/Var/Run\nstats_script_url = http://a/?b=c\nnonsense\n";
        let (file, warnings) = RcFile::parse("rc", text);
        let expected = [
            ("dbhost", "db.example"),
            ("dbport", "5433"),
            ("piddir", "/Var/Run"),
            ("stats_script_url", "http://a/?b=c"),
        ];
        assert_eq!(file.entries, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(warnings, ["Could not parse line 7 of file \"rc\""]);
    }
}
