//! Where the programs of PostgreSQL are, and as whom they run.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::LabError;

/// Where distributions put a server's programs, one folder a version.
const VERSIONED: [(&str, &str); 2] = [("/usr/lib/postgresql", "bin"), ("/usr", "bin")];

/// The folder with the programs of one PostgreSQL version.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Looks in `$PGBINDIR`, `$PATH`, and the folders of Debian and Red Hat, there for the newest version.
    ///
    /// # Errors
    ///
    /// [`LabError::NoPrograms`]: no folder has both `initdb` and `postgres`.
    pub fn find() -> Result<Self, LabError> {
        let named = env::var_os("PGBINDIR").map(PathBuf::from);
        let path = env::var_os("PATH").unwrap_or_default();
        named
            .into_iter()
            .chain(env::split_paths(&path))
            .chain(versioned())
            .find(|folder| has_server(folder))
            .map(|folder| Self { folder })
            .ok_or_else(|| LabError::NoPrograms { searched: "/usr/lib/postgresql/*/bin, /usr/pgsql-*/bin".to_owned() })
    }

    /// Those of one folder.
    ///
    /// # Errors
    ///
    /// [`LabError::NoPrograms`]: it does not have both `initdb` and `postgres`.
    pub fn within(folder: &Path) -> Result<Self, LabError> {
        if has_server(folder) {
            Ok(Self { folder: folder.to_owned() })
        } else {
            Err(LabError::NoPrograms { searched: folder.display().to_string() })
        }
    }

    /// The program of this name: beside the server's, else wherever `$PATH` finds it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        let beside = self.folder.join(name);
        if beside.is_file() { beside } else { PathBuf::from(name) }
    }

    /// A command that runs it, without the `PG…` variables of our own environment.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        clean(Command::new(self.path(name)))
    }
}

fn has_server(folder: &Path) -> bool {
    folder.join("initdb").is_file() && folder.join("postgres").is_file()
}

/// Takes `PGHOST`, `PGOPTIONS` and their kin away: a throwaway server is reached by what is said on the command line.
pub(super) fn clean(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
}

fn versioned() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (base, programs) in VERSIONED {
        let Ok(entries) = fs::read_dir(base) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let number = name.strip_prefix("pgsql-").unwrap_or(&name).split('.').next().and_then(|n| n.parse().ok());
            if let Some(number) = number {
                found.push((number, entry.path().join(programs)));
            }
        }
    }
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// The user that runs the servers when we are root: PostgreSQL refuses root.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl ServerUser {
    /// None when we are somebody else than root, and run the servers ourselves.
    pub(super) fn needed() -> Result<Option<Self>, LabError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").map_err(LabError::files("read", "/etc/passwd"))?;
        let found = ["postgres", "nobody"].iter().find_map(|name| Self::of(&users, name));
        found.map(Some).ok_or(LabError::NoUser)
    }

    fn of(users: &str, name: &str) -> Option<Self> {
        let mut fields = users.lines().map(|line| line.split(':')).find(|line| line.clone().next() == Some(name))?;
        let uid = fields.nth(2)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self { uid, gid })
    }

    pub(super) fn run(user: Option<Self>, command: &mut Command) {
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
    }

    pub(super) fn own(user: Option<Self>, path: &Path) -> Result<(), LabError> {
        if let Some(user) = user {
            std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))
                .map_err(LabError::files("change the owner of", path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_exact_name() {
        let users = "root:x:0:0::/root:/bin/sh\npostgresx:x:5:6::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        let user = ServerUser::of(users, "postgres").unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(ServerUser::of(users, "nobody").is_none());
    }
}
