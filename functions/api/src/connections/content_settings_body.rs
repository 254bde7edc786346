//! A connection's content settings to and from JSON.

use std::collections::BTreeMap;

use domain::{CONTENT_PATTERNS_MAX, ContentSettings, MimePattern, StorageClass};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::described::texts::{MimePatternText, MimeTypeText};
use crate::http::{Kind, Problem, pointer_part, view_enum};

/// The content that is mirrored to S3. Off by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = ContentSettings)]
pub(crate) struct ContentSettingsBody {
    /// Whether content is mirrored.
    enabled: bool,
    /// The size above which content is not mirrored, in bytes: 0 to 5,000,000,000,000.
    #[schema(maximum = 5_000_000_000_000_u64)]
    size_bytes_max: u64,
    /// The only MIME types, or prefixes of MIME types (`image/*`), that are mirrored, if there are
    /// any. Up to 100.
    #[schema(max_items = 100, value_type = Vec<MimePatternText>)]
    include: Vec<String>,
    /// MIME types that are not mirrored. They take precedence over `include`. Up to 100.
    #[schema(max_items = 100, value_type = Vec<MimePatternText>)]
    exclude: Vec<String>,
    /// The MIME type that a Docs editor file is exported to, by its own type; in a patch, null
    /// removes an entry. Up to 100.
    #[schema(value_type = BTreeMap<String, MimeTypeText>)]
    exports: BTreeMap<String, String>,
    storage_class: StorageClassBody,
    /// Whether text of up to 8 MiB is stored compressed (Zstandard) if that saves a fifth of it. It
    /// applies to content that is stored from now on; stored content is not changed.
    compress: bool,
    /// The retention of content that nothing refers to any more, in days: 0 to 3,650.
    #[schema(maximum = 3_650)]
    retention_days: u32,
}

view_enum! {
    /// S3's storage classes with immediate access.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    #[schema(as = StorageClass)]
    enum StorageClassBody = StorageClass {
        Standard,
        StandardIa,
        IntelligentTiering,
        GlacierIr,
    }
}

impl Default for ContentSettingsBody {
    fn default() -> Self {
        Self::from(&ContentSettings::default())
    }
}

impl From<&ContentSettings> for ContentSettingsBody {
    fn from(settings: &ContentSettings) -> Self {
        let texts = |patterns: &[MimePattern]| {
            let each = patterns.iter().map(|pattern| pattern.as_str().to_owned());
            each.collect()
        };
        Self {
            enabled: settings.enabled,
            size_bytes_max: settings.size_bytes_max,
            include: texts(&settings.include),
            exclude: texts(&settings.exclude),
            exports: settings.exports.clone(),
            storage_class: settings.storage_class.into(),
            compress: settings.compress,
            retention_days: settings.retention_days,
        }
    }
}

impl ContentSettingsBody {
    /// Checks that every pattern is valid and every number within its bounds.
    pub(crate) fn checked(&self) -> Result<ContentSettings, Problem> {
        let wrong = |detail: String, at: &str| {
            Problem::new(Kind::ValueNotAllowed, detail).at(format!("/content/{at}"))
        };
        let patterns = |texts: &[String], name: &str| -> Result<Vec<MimePattern>, Problem> {
            let each = |(number, text): (usize, &String)| {
                MimePattern::parse(text)
                    .map_err(|why| wrong(format!("it {why}"), &format!("{name}/{number}")))
            };
            texts.iter().enumerate().map(each).collect()
        };
        if self.exports.len() > CONTENT_PATTERNS_MAX {
            let detail = format!("at most {CONTENT_PATTERNS_MAX} formats are possible");
            return Err(wrong(detail, "exports"));
        }
        for (own, format) in &self.exports {
            let plain = |text: &str| MimePattern::parse(text).is_ok() && !text.ends_with('*');
            if !plain(own) || !plain(format) {
                let detail = "an export maps a MIME type to a MIME type".to_owned();
                return Err(wrong(detail, &format!("exports/{}", pointer_part(own))));
            }
        }
        Ok(ContentSettings {
            enabled: self.enabled,
            size_bytes_max: self.size_bytes_max,
            include: patterns(&self.include, "include")?,
            exclude: patterns(&self.exclude, "exclude")?,
            exports: self.exports.clone(),
            storage_class: self.storage_class.into(),
            compress: self.compress,
            retention_days: self.retention_days,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::described::check::typed;
    use serde_json::{Value as Json, json};

    fn read(json: Json) -> Result<ContentSettings, String> {
        let body = typed::<ContentSettingsBody>(json, "/content");
        body.and_then(|body| body.checked()).map_err(|problem| {
            assert_eq!(problem.status(), 422);
            problem.body().pointer().unwrap().to_owned()
        })
    }

    #[test]
    fn settings_round_trip_through_json() {
        let json = json!({
            "enabled": true,
            "size_bytes_max": 1_000,
            "include": ["image/*"],
            "exclude": ["image/gif"],
            "exports": {"application/vnd.google-apps.document": "application/pdf"},
            "storage_class": "GLACIER_IR",
            "compress": true,
            "retention_days": 7,
        });
        let settings = read(json.clone()).unwrap();
        let shown = serde_json::to_value(ContentSettingsBody::from(&settings)).unwrap();
        assert_eq!(shown, json);
        assert_eq!(read(json!({})), Ok(ContentSettings::default()));
    }

    #[test]
    fn the_problem_of_settings_points_at_the_invalid_member() {
        for (json, pointer) in [
            (
                json!({"size_bytes_max": 5_000_000_000_001_u64}),
                "/content/size_bytes_max",
            ),
            (json!({"retention_days": 3_651}), "/content/retention_days"),
            (json!({"include": ["image"]}), "/content/include/0"),
            (json!({"exclude": vec!["a/b"; 101]}), "/content/exclude"),
            (json!({"exports": {"a/b": "c"}}), "/content/exports/a~1b"),
            (
                json!({"storage_class": "GLACIER"}),
                "/content/storage_class",
            ),
            (json!({"compress": "yes"}), "/content/compress"),
            (json!({"colour": 1}), "/content/colour"),
        ] {
            assert_eq!(read(json.clone()), Err(pointer.to_owned()), "{json}");
        }
    }
}
