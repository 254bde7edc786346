//! Settings: read once, by name, at start. A function that lacks one says which, and does not start.

use std::collections::BTreeMap;

/// A setting is missing or can't be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// It is not set.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// It is set to something else than what it must be.
    #[error("the environment variable {name} must be {wanted}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
}

/// The environment, as it was at start.
#[derive(Debug, Clone, Default)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Reads the process's environment.
    #[must_use]
    pub fn from_env() -> Self {
        Self(std::env::vars().collect())
    }

    /// Settings given by hand: for tests, and for running many functions in one process.
    #[must_use]
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A setting that must be there.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] where it is not.
    pub fn required(&self, name: &'static str) -> Result<String, SettingsError> {
        self.get(name)
            .map(str::to_owned)
            .ok_or(SettingsError::Missing(name))
    }

    /// A setting that may be left out.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// The table that holds everything.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] where it is not named.
    pub fn table(&self) -> Result<String, SettingsError> {
        self.required("TABLE_NAME")
    }

    /// The bucket that holds content.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] where it is not named.
    pub fn content_bucket(&self) -> Result<String, SettingsError> {
        self.required("CONTENT_BUCKET")
    }

    /// Where Drive is: Google, unless told otherwise.
    #[must_use]
    pub fn drive_url(&self) -> String {
        self.optional("DRIVE_URL")
            .unwrap_or_else(|| "https://www.googleapis.com".to_owned())
    }

    /// What the names of our secrets begin with; a tenant's follow with its id.
    #[must_use]
    pub fn secrets_prefix(&self) -> String {
        self.optional("SECRETS_PREFIX")
            .unwrap_or_else(|| "drivesync/".to_owned())
    }

    /// How long snapshots are kept, in days; `None` keeps none.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] where it is not a number.
    pub fn history_days(&self) -> Result<Option<u32>, SettingsError> {
        const NAME: &str = "HISTORY_DAYS";
        let days = self.get(NAME).unwrap_or("90").parse::<u32>();
        let days = days.map_err(|_| SettingsError::Invalid {
            name: NAME,
            wanted: "a number of days",
        })?;
        Ok((days > 0).then_some(days))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_setting_is_named() {
        let settings = Settings::from_pairs([("TABLE_NAME", "")]);
        let said = settings.table().unwrap_err().to_string();
        assert_eq!(said, "the environment variable TABLE_NAME is not set");
    }

    #[test]
    fn history_is_kept_for_ninety_days_unless_told_otherwise() {
        let days = |value: &str| Settings::from_pairs([("HISTORY_DAYS", value)]).history_days();
        assert_eq!(days(""), Ok(Some(90)));
        assert_eq!(days("0"), Ok(None));
        assert_eq!(days("7"), Ok(Some(7)));
        assert!(days("a week").is_err());
    }
}
