//! Passwords of settings and of databases, which may stand elsewhere.

use std::fmt;

use serde::Deserialize;

/// A password, or where it is: `file:PATH` (its first line), `env:NAME`. `text:PASSWORD` is a password that begins like
/// one of these.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct PasswordRef(String);

impl PasswordRef {
    /// From what somebody has written.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// It says where the password is, and is none itself.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.0.starts_with("env:") || self.0.starts_with("file:")
    }

    /// The password itself.
    ///
    /// # Errors
    ///
    /// What it refers to is not there; the text says what that is.
    pub fn resolve(&self) -> Result<String, String> {
        if let Some(path) = self.0.strip_prefix("file:") {
            let text = std::fs::read_to_string(path).map_err(|error| format!("file {path}: {error}"))?;
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
        if let Some(name) = self.0.strip_prefix("env:") {
            return std::env::var(name).map_err(|error| format!("variable {name}: {error}"));
        }
        Ok(self.0.strip_prefix("text:").unwrap_or(&self.0).to_owned())
    }
}

impl fmt::Debug for PasswordRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_it_says_or_where_it_says() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "geh eim\nanother line\n").unwrap();
        let resolved = |text: &str| PasswordRef::new(text).resolve();
        assert_eq!(resolved(&format!("file:{}", file.path().display())).unwrap(), "geh eim");
        assert_eq!(resolved("geh:eim").unwrap(), "geh:eim");
        assert_eq!(resolved("text:env:HOME").unwrap(), "env:HOME", "a password that looks like a reference");
        assert_eq!(resolved("text:text:").unwrap(), "text:");
        assert!(resolved("file:/nonexistent/x").unwrap_err().contains("/nonexistent/x"));
        assert_eq!(format!("{:?}", PasswordRef::new("geheim")), "***");
        assert!(resolved("env:BUCARDO_NO_SUCH_THING").unwrap_err().contains("BUCARDO_NO_SUCH_THING"));
    }
}
