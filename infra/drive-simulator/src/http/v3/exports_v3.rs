//! Content of Google's own types: `files.export` with its size limit, and the long-running
//! `files.download`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    errors::DriveError,
    http::{call::Call, media::media_download, response::ApiResponse},
    ids::FileId,
    simulator::Simulator,
    state::{
        View,
        items::{
            download_operations::{Download, Progress},
            file_content::Content,
            item::SHORTCUT,
        },
    },
};

/// The maximum size of an export, in bytes: 10 MB (the Drive guide "Download and export files").
const EXPORT_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// The default size of an export, in bytes.
const EXPORT_BYTES: u64 = 1_024;
/// Google Vids, which can be downloaded but not exported.
const VID: &str = "application/vnd.google-apps.vid";

/// The types that can be exported.
const EXPORTABLE: [&str; 5] = [
    "application/vnd.google-apps.document",
    "application/vnd.google-apps.spreadsheet",
    "application/vnd.google-apps.presentation",
    "application/vnd.google-apps.drawing",
    "application/vnd.google-apps.script",
];

/// Returns the formats that a Google type can be exported to (the Drive guide "Export MIME types"),
/// the default first.
fn formats(kind: &str) -> &'static [&'static str] {
    match kind {
        "application/vnd.google-apps.document" => &[
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.oasis.opendocument.text",
            "application/rtf",
            "application/pdf",
            "text/plain",
            "text/html",
            "text/markdown",
            "application/zip",
            "application/epub+zip",
        ],
        "application/vnd.google-apps.spreadsheet" => &[
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/x-vnd.oasis.opendocument.spreadsheet",
            "application/pdf",
            "application/zip",
            "text/csv",
            "text/tab-separated-values",
        ],
        "application/vnd.google-apps.presentation" => &[
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "application/vnd.oasis.opendocument.presentation",
            "application/pdf",
            "text/plain",
        ],
        "application/vnd.google-apps.drawing" => &[
            "application/pdf",
            "image/jpeg",
            "image/png",
            "image/svg+xml",
        ],
        "application/vnd.google-apps.script" => &["application/vnd.google-apps.script+json"],
        VID => &["video/mp4"],
        _ => &[],
    }
}

/// Returns the name of a format in an export link.
fn link_format(format: &str) -> &str {
    match format {
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation" => "pptx",
        "application/vnd.oasis.opendocument.text" => "odt",
        "application/x-vnd.oasis.opendocument.spreadsheet" => "ods",
        "application/vnd.oasis.opendocument.presentation" => "odp",
        "application/vnd.google-apps.script+json" => "json",
        "application/epub+zip" => "epub",
        "image/svg+xml" => "svg",
        "text/plain" => "txt",
        "text/markdown" => "md",
        "text/tab-separated-values" => "tsv",
        other => other.rsplit('/').next().unwrap_or_default(),
    }
}

/// Returns the `exportLinks` of an item or a revision; `None` if it cannot be exported.
pub(crate) fn export_links(origin: Option<&str>, id: &FileId, kind: &str) -> Option<Value> {
    let formats = formats(kind);
    let origin = origin.unwrap_or("https://docs.google.com");
    let link = |format: &&str| {
        let to = link_format(format);
        let link =
            format!("{origin}/feeds/download/documents/export/Export?id={id}&exportFormat={to}");
        ((*format).to_owned(), json!(link))
    };
    (!formats.is_empty() && kind != VID).then(|| formats.iter().map(link).collect())
}

/// Returns the `exportFormats` of `about.get`: by type, the formats that it can be exported to.
pub(crate) fn export_formats() -> Value {
    EXPORTABLE
        .iter()
        .map(|kind| ((*kind).to_owned(), json!(formats(kind))))
        .collect()
}

/// Checks that the item can be exported to a format.
fn checked_format(view: &View, format: &str) -> Result<(), DriveError> {
    if formats(&view.item.mime_type).contains(&format) {
        return Ok(());
    }
    Err(DriveError::bad_request("The requested conversion is not supported.").at("convertTo"))
}

fn export_content(view: &View) -> Arc<Content> {
    let size = view.item.rule.export_bytes.unwrap_or(EXPORT_BYTES);
    Arc::new(Content::synthetic(view.item.sequence, size))
}

/// `files.export`.
pub(crate) async fn export(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let format = call
        .params
        .text("mimeType")
        .ok_or_else(|| DriveError::required("mimeType"))?;
    export_as(&simulator, &call, call.path("id")?, format).await
}

/// An export by one of the `exportLinks`.
pub(crate) async fn export_link(
    simulator: Simulator,
    call: Call,
) -> Result<ApiResponse, DriveError> {
    let required = |name| {
        call.params
            .text(name)
            .ok_or_else(|| DriveError::required(name))
    };
    let (id, wanted) = (required("id")?, required("exportFormat")?);
    let kind = simulator.with_state(|state| {
        let view = state.find(&call.user, id, true)?;
        Ok(Arc::clone(&view.item.mime_type))
    })?;
    let format = formats(&kind)
        .iter()
        .find(|format| link_format(format) == wanted)
        .copied()
        .unwrap_or(wanted);
    export_as(&simulator, &call, id, format).await
}

/// The content of a file by its `webContentLink`.
pub(crate) async fn content_link(
    simulator: Simulator,
    call: Call,
) -> Result<ApiResponse, DriveError> {
    let id = call
        .params
        .text("id")
        .ok_or_else(|| DriveError::required("id"))?;
    let view = simulator.with_state(|state| state.find(&call.user, id, true))?;
    media_download::download(&view, false, &call.headers)
        .await
        .map(ApiResponse::Raw)
}

async fn export_as(
    simulator: &Simulator,
    call: &Call,
    id: &str,
    format: &str,
) -> Result<ApiResponse, DriveError> {
    let view = simulator.with_state(|state| state.find(&call.user, id, true))?;
    let kind = &*view.item.mime_type;
    if formats(kind).is_empty() || kind == VID {
        let message = "Export only supports Docs Editors files.";
        return Err(DriveError::new(403, "fileNotExportable", message));
    }
    if view.item.rule.not_downloadable {
        let message = "This file cannot be exported by the user.";
        return Err(DriveError::new(403, "cannotExportFile", message));
    }
    checked_format(&view, format)?;
    let content = export_content(&view);
    if content.size() > EXPORT_BYTES_MAX {
        let message = "This file is too large to be exported.";
        return Err(DriveError::new(403, "exportSizeLimitExceeded", message));
    }
    media_download::respond(&content, format, &call.headers)
        .await
        .map(ApiResponse::Raw)
}

/// `files.download`: begins a long-running operation, regardless of the size.
pub(crate) async fn begin_download(
    simulator: Simulator,
    call: Call,
) -> Result<ApiResponse, DriveError> {
    let id = call.path("id")?;
    let (format, revision) = (call.params.text("mimeType"), call.params.text("revisionId"));
    let host = call.host().to_owned();
    let (name, operation) = simulator.with_state(|state| {
        let view = state.find(&call.user, id, true)?;
        media_download::check_allowed(&view, false)?;
        let (content, mime_type) = downloadable_content(&view, format)?;
        let content = match revision {
            None => content,
            Some(revision) => {
                let (_, found) = state.revision(&call.user, id, revision)?;
                match found.content {
                    Some(_) => Arc::clone(found.downloadable()?),
                    None => content,
                }
            }
        };
        Ok(state.begin_download(&call.user, content, mime_type))
    })?;
    Ok(ApiResponse::Json(
        call.selection
            .filter(operation_json(&name, &operation, &host)),
    ))
}

/// Returns the content that a download of an item sends, and its MIME type.
fn downloadable_content(
    view: &View,
    format: Option<&str>,
) -> Result<(Arc<Content>, String), DriveError> {
    let item = &view.item;
    if let Some(content) = &item.content {
        return match format {
            None => Ok((Arc::clone(content), item.mime_type.to_string())),
            Some(_) => Err(DriveError::invalid_because(
                "mimeType",
                "The type can only be chosen for Google Workspace documents.",
            )),
        };
    }
    let default = formats(&item.mime_type).first().copied();
    let Some(default) = default.filter(|_| &*item.mime_type != SHORTCUT) else {
        let message = "This file cannot be downloaded.";
        return Err(DriveError::new(403, "fileNotDownloadable", message));
    };
    let format = format.unwrap_or(default);
    checked_format(view, format)?;
    Ok((export_content(view), format.to_owned()))
}

fn operation_json(name: &str, progress: &Progress, host: &str) -> Value {
    let kind = |of: &str| format!("type.googleapis.com/google.apps.drive.v3.{of}");
    let mut operation = json!({
        "name": name, "done": progress.done, "metadata": {"@type": kind("DownloadFileMetadata")},
    });
    if let Some(members) = operation.as_object_mut().filter(|_| progress.done) {
        let uri = format!("http://{host}/download/drive/v3/operations/{name}?alt=media");
        let response = json!({
            "@type": kind("DownloadFileResponse"), "downloadUri": uri,
            "partialDownloadAllowed": true,
        });
        members.insert("response".to_owned(), response);
    }
    operation
}

/// `operations.get`.
pub(crate) async fn operation(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (name, host) = (call.path("name")?, call.host());
    let (_, progress) = simulator.with_state(|state| state.download(&call.user, name))?;
    Ok(ApiResponse::Json(
        call.selection.filter(operation_json(name, &progress, host)),
    ))
}

/// Responds with the content of a finished operation, at its `downloadUri`.
pub(crate) async fn operation_media(
    simulator: Simulator,
    call: Call,
) -> Result<ApiResponse, DriveError> {
    let name = call.path("name")?;
    let (found, progress): (Download, Progress) =
        simulator.with_state(|state| state.download(&call.user, name))?;
    if !progress.done {
        return Err(DriveError::no_such_method());
    }
    media_download::respond(&found.content, &found.mime_type, &call.headers)
        .await
        .map(ApiResponse::Raw)
}
