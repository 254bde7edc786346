//! A connection's content settings in the form that its item stores; unset members are left out.

use std::collections::BTreeMap;

use domain::{ContentSettings, MimePattern, StorageClass};
use serde::{Deserialize, Serialize};

use crate::file::value_item::ItemDefect;

#[derive(Serialize, Deserialize)]
pub(crate) struct ContentSettingsItem {
    enabled: bool,
    size_bytes_max: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    include: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    exclude: Vec<String>,
    exports: BTreeMap<String, String>,
    storage_class: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    compress: bool,
    retention_days: u32,
}

impl ContentSettingsItem {
    pub(crate) fn of(settings: &ContentSettings) -> Option<Self> {
        let texts = |patterns: &[MimePattern]| {
            let each = patterns.iter().map(|pattern| pattern.as_str().to_owned());
            each.collect()
        };
        (*settings != ContentSettings::default()).then(|| Self {
            enabled: settings.enabled,
            size_bytes_max: settings.size_bytes_max,
            include: texts(&settings.include),
            exclude: texts(&settings.exclude),
            exports: settings.exports.clone(),
            storage_class: settings.storage_class.name().to_owned(),
            compress: settings.compress,
            retention_days: settings.retention_days,
        })
    }

    pub(crate) fn into_settings(self) -> Result<ContentSettings, ItemDefect> {
        let patterns = |texts: Vec<String>| {
            let each = texts.iter().map(|text| MimePattern::parse(text));
            let all: Result<Vec<_>, _> = each.collect();
            all.map_err(|_| "one of its content types is invalid")
        };
        Ok(ContentSettings {
            enabled: self.enabled,
            size_bytes_max: self.size_bytes_max,
            include: patterns(self.include)?,
            exclude: patterns(self.exclude)?,
            exports: self.exports,
            storage_class: StorageClass::from_name(&self.storage_class)
                .ok_or("its storage class is unknown")?,
            compress: self.compress,
            retention_days: self.retention_days,
        })
    }
}
