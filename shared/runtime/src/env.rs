//! Settings, read by name once at start. A function with a missing setting does not start.

use std::collections::BTreeMap;

use domain::rate_limit::TenantLimits;

/// A setting is missing or can't be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// The variable has an invalid value.
    #[error("the environment variable {name} must be {wanted}")]
    Invalid {
        /// The name of the variable.
        name: &'static str,
        /// A description of the valid values.
        wanted: &'static str,
    },
}

/// The environment at the time of the start.
#[derive(Debug, Clone, Default)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Reads the environment of the process.
    #[must_use]
    pub fn from_env() -> Self {
        Self(std::env::vars().collect())
    }

    /// Creates settings from pairs: for tests, and for running several functions in one process.
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

    /// Returns a required setting.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if it is not set.
    pub fn required(&self, name: &'static str) -> Result<String, SettingsError> {
        self.get(name)
            .map(str::to_owned)
            .ok_or(SettingsError::Missing(name))
    }

    /// Returns an optional setting.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Returns the name of the DynamoDB table.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if it is not set.
    pub fn table(&self) -> Result<String, SettingsError> {
        self.required("TABLE_NAME")
    }

    /// Returns the name of the S3 bucket for content.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if it is not set.
    pub fn content_bucket(&self) -> Result<String, SettingsError> {
        self.required("CONTENT_BUCKET")
    }

    /// Returns the URL of Drive; Google's by default.
    #[must_use]
    pub fn drive_url(&self) -> String {
        self.optional("DRIVE_URL")
            .unwrap_or_else(|| "https://www.googleapis.com".to_owned())
    }

    /// Returns the prefix of the secrets' names, which the tenant's id follows.
    #[must_use]
    pub fn secrets_prefix(&self) -> String {
        self.optional("SECRETS_PREFIX")
            .unwrap_or_else(|| "drivesync/".to_owned())
    }

    /// Returns the limits of each tenant: the defaults, and what `TENANT_LIMITS` sets.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] if it is no list of limits.
    pub fn tenant_limits(&self) -> Result<TenantLimits, SettingsError> {
        const NAME: &str = "TENANT_LIMITS";
        let limits = TenantLimits::default().with(self.get(NAME).unwrap_or_default());
        limits.map_err(|_| SettingsError::Invalid {
            name: NAME,
            wanted: "limits with their numbers, as in connections=5,uploads=2",
        })
    }

    /// Returns the retention of snapshots in days; `None` if no history is kept.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] if it is not a number.
    pub fn history_days(&self) -> Result<Option<u32>, SettingsError> {
        const NAME: &str = "HISTORY_DAYS";
        let days = self.get(NAME).unwrap_or("90").parse::<u32>();
        let days = days.map_err(|_| SettingsError::Invalid {
            name: NAME,
            wanted: "a number of days",
        })?;
        Ok((days > 0).then_some(days))
    }

    /// Returns the retention of what has ended (operations, conflicts, records of files that are
    /// gone) in days.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] if it is not a number of at least 30.
    pub fn ended_retention_days(&self) -> Result<u32, SettingsError> {
        const NAME: &str = "ENDED_RETENTION_DAYS";
        let days = self.get(NAME).unwrap_or("365").parse::<u32>().ok();
        days.filter(|days| *days >= 30)
            .ok_or(SettingsError::Invalid {
                name: NAME,
                wanted: "a number of days, at least 30",
            })
    }

    /// Returns the retention of events in days; 0 if there are none.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] if it is not a number from 0 to 365.
    pub fn event_days(&self) -> Result<u32, SettingsError> {
        const NAME: &str = "EVENT_DAYS";
        let days = self.get(NAME).unwrap_or("7").parse::<u32>().ok();
        days.filter(|days| *days <= 365)
            .ok_or(SettingsError::Invalid {
                name: NAME,
                wanted: "a number of days from 0 (no events) to 365",
            })
    }

    /// Returns the most requests of all tenants that wait for an event at once.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] if it is not a number.
    pub fn event_waits_max(&self) -> Result<usize, SettingsError> {
        const NAME: &str = "EVENT_WAITS_MAX";
        let waits = self.get(NAME).unwrap_or("10").parse();
        waits.map_err(|_| SettingsError::Invalid {
            name: NAME,
            wanted: "a number of requests",
        })
    }

    /// Returns the retention of the acts of the audit trail in days.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] if it is not a number of at least 30.
    pub fn audit_days(&self) -> Result<u32, SettingsError> {
        const NAME: &str = "AUDIT_DAYS";
        let days = self.get(NAME).unwrap_or("400").parse::<u32>().ok();
        days.filter(|days| *days >= 30)
            .ok_or(SettingsError::Invalid {
                name: NAME,
                wanted: "a number of days, at least 30",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_setting_is_named() {
        let settings = Settings::from_pairs([("TABLE_NAME", "")]);
        let error = settings.table().unwrap_err().to_string();
        assert_eq!(error, "the environment variable TABLE_NAME is not set");
    }

    #[test]
    fn the_limits_of_a_tenant_are_the_defaults_but_for_what_is_set() {
        let limits = |value| Settings::from_pairs([("TENANT_LIMITS", value)]).tenant_limits();
        assert_eq!(limits(""), Ok(TenantLimits::default()));
        assert_eq!(limits("uploads=3").unwrap().uploads, 3);
        assert!(limits("uploads").is_err());
    }

    #[test]
    fn history_is_kept_for_ninety_days_by_default() {
        let days = |value: &str| Settings::from_pairs([("HISTORY_DAYS", value)]).history_days();
        assert_eq!(days(""), Ok(Some(90)));
        assert_eq!(days("0"), Ok(None));
        assert_eq!(days("7"), Ok(Some(7)));
        assert!(days("a week").is_err());
    }

    #[test]
    fn what_has_ended_is_kept_for_a_year_by_default_and_for_a_month_at_least() {
        let days = |value: &str| {
            Settings::from_pairs([("ENDED_RETENTION_DAYS", value)]).ended_retention_days()
        };
        assert_eq!((days(""), days("30")), (Ok(365), Ok(30)));
        assert!(days("29").is_err() && days("-1").is_err());
        let acts = |value: &str| Settings::from_pairs([("AUDIT_DAYS", value)]).audit_days();
        assert_eq!((acts(""), acts("30")), (Ok(400), Ok(30)));
        assert!(acts("29").is_err() && acts("a year").is_err());
        let events = |value: &str| Settings::from_pairs([("EVENT_DAYS", value)]).event_days();
        assert_eq!((events(""), events("0")), (Ok(7), Ok(0)));
        assert!(events("366").is_err() && events("-1").is_err());
    }
}
