//! The requests of Secrets Manager's JSON protocol, as far as they are served.

use serde::{Deserialize, Serialize};

/// A value: text, or bytes in base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    #[serde(rename = "SecretString", skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    #[serde(rename = "SecretBinary", skip_serializing_if = "Option::is_none")]
    pub(super) binary: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SecretId {
    pub(super) secret_id: String,
    pub(super) version_id: Option<String>,
    pub(super) version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Create {
    pub(super) name: String,
    pub(super) client_request_token: Option<String>,
    pub(super) description: Option<String>,
    #[serde(flatten)]
    pub(super) value: Stored,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Put {
    pub(super) secret_id: String,
    pub(super) client_request_token: Option<String>,
    #[serde(flatten)]
    pub(super) value: Stored,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Delete {
    pub(super) secret_id: String,
    #[serde(default)]
    pub(super) force_delete_without_recovery: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct List {
    pub(super) max_results: Option<usize>,
    pub(super) next_token: Option<String>,
    #[serde(default)]
    pub(super) filters: Vec<Filter>,
    #[serde(default)]
    pub(super) include_planned_deletion: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Filter {
    pub(super) key: String,
    pub(super) values: Vec<String>,
}
