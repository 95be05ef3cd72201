//! The settings of the table `bucardo_config`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};

const SETTINGS: Query = query!("read the settings", "settings");
const SET: Query = query!("change a setting", "setting_set");

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its value.
    pub value: String,
    /// The value that it was shipped with.
    pub default: String,
    /// What it is for.
    pub about: String,
}

/// All settings, by name (lower case).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    settings: BTreeMap<String, Setting>,
    /// Those of single syncs, by sync and name.
    of_syncs: BTreeMap<String, BTreeMap<String, Setting>>,
}

impl Settings {
    /// Names and settings, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.settings.iter().map(|(name, setting)| (name.as_str(), setting))
    }

    /// The settings that one sync has for itself, in place of those that hold for all.
    pub fn own(&self, sync: &str) -> impl Iterator<Item = (&str, &str)> {
        let own = self.of_syncs.get(sync).into_iter().flatten();
        own.map(|(name, setting)| (name.as_str(), setting.value.as_str()))
    }

    /// All settings as they hold for one sync.
    #[must_use]
    pub fn for_sync(&self, sync: &str) -> Cow<'_, Self> {
        let Some(own) = self.of_syncs.get(sync) else { return Cow::Borrowed(self) };
        let mut settings = self.settings.clone();
        settings.extend(own.iter().map(|(name, setting)| (name.clone(), setting.clone())));
        Cow::Owned(Self { settings, of_syncs: BTreeMap::new() })
    }

    /// The value of a setting.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(|setting| setting.value.as_str())
    }

    /// The value of a setting that is a number; `None` where there is no such setting or it is empty.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Value`] names the setting when its value is no such number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, CatalogError> {
        let Some(text) = self.text(name).map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| CatalogError::Value {
            what: format!("setting \"{name}\""),
            why: format!("\"{text}\" is not a number that it takes"),
        })
    }
}

/// Reads all settings, also those of single syncs.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn load(client: &impl GenericClient) -> Result<Settings, CatalogError> {
    let (mut settings, mut of_syncs) = (BTreeMap::new(), BTreeMap::<String, BTreeMap<String, Setting>>::new());
    for row in SETTINGS.rows(client, &[]).await? {
        let name: String = row.get("name");
        let setting = Setting { value: row.get("setting"), default: row.get("defval"), about: row.get("about") };
        match row.get::<_, Option<String>>("sync") {
            None => settings.insert(name.to_lowercase(), setting),
            Some(sync) => of_syncs.entry(sync).or_default().insert(name.to_lowercase(), setting),
        };
    }
    Ok(Settings { settings, of_syncs })
}

/// Changes a setting, and keeps the value as it is given; false: there is none of that name.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn set(client: &impl GenericClient, name: &str, value: &str) -> Result<bool, CatalogError> {
    Ok(!SET.rows(client, &[&name, &value]).await?.is_empty())
}
