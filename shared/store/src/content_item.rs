//! The item of a file's content state. With what is under way it takes 1.3 KB at most, however long the content: which
//! parts are in S3 is S3's to list, and 10,000 of them would not fit into an item.

use domain::content::{ContentHash, ContentState, Dealt, Download, Progress, Upload, UploadId};
use domain::{AttemptId, ConnectionKey, FileId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::item::{Checksum, decode, encode};
use crate::key::{Index, Item, Key, due_place};
use crate::value_item::at;
use crate::version_item::{hash_item, object_key};
use crate::{Nonce, StoreError};

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    nonce: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dealt: Option<(u32, DealtText)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressBody>,
    #[serde(default)]
    failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exported: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DealtText {
    Stored,
    Unavailable(String),
    Skipped(String),
    Released,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProgressBody {
    Download(DownloadBody),
    Upload(UploadBody),
    Copy { number: u32, file: String },
}

#[derive(Serialize, Deserialize)]
struct DownloadBody {
    number: u32,
    hash: Checksum,
    object: String,
    upload: String,
    part_bytes: u64,
    parts: u32,
    done_bytes: u64,
    hash_state: Checksum,
    began_at: i64,
}

#[derive(Serialize, Deserialize)]
struct UploadBody {
    number: u32,
    hash: Checksum,
    attempt: u64,
    session: String,
    done_bytes: u64,
    began_at: i64,
}

/// The item of a state, as this revision.
pub(crate) fn encode_content(
    key: &ConnectionKey,
    file: &FileId,
    state: &ContentState,
    nonce: Nonce,
) -> Result<Item, StoreError> {
    let dealt = |dealt: &Dealt| match dealt {
        Dealt::Stored => DealtText::Stored,
        Dealt::Unavailable { reason } => DealtText::Unavailable(reason.clone()),
        Dealt::Skipped { rule } => DealtText::Skipped(rule.clone()),
        Dealt::Released => DealtText::Released,
    };
    let body = Body {
        revision: state.revision,
        nonce: nonce.0,
        dealt: state.dealt.as_ref().map(|(n, how)| (*n, dealt(how))),
        progress: state.progress.as_ref().map(progress_body),
        failures: state.failures,
        exported: state.exported.map(Timestamp::as_millis),
        due_at: state.due_at.map(Timestamp::as_millis),
    };
    let place = Key::content(key, file);
    let mut item = encode(&place, &body)?;
    if let Some(due) = state.due_at {
        let (pk, sk) = due_place(&place, due);
        Index::Due.place(&mut item, pk, sk);
    }
    Ok(item)
}

fn progress_body(progress: &Progress) -> ProgressBody {
    match progress {
        Progress::Download(download) => ProgressBody::Download(DownloadBody {
            number: download.number,
            hash: hash_item(&download.hash),
            object: download.object.to_string(),
            upload: download.upload.as_str().to_owned(),
            part_bytes: download.part_bytes,
            parts: download.parts,
            done_bytes: download.done_bytes,
            hash_state: Checksum::Bytes(download.hash_state.clone()),
            began_at: download.began_at.as_millis(),
        }),
        Progress::Upload(upload) => ProgressBody::Upload(UploadBody {
            number: upload.number,
            hash: hash_item(&upload.hash),
            attempt: upload.attempt.0,
            session: upload.session_uri.clone(),
            done_bytes: upload.done_bytes,
            began_at: upload.began_at.as_millis(),
        }),
        Progress::Copy { number, file } => ProgressBody::Copy {
            number: *number,
            file: file.to_string(),
        },
    }
}

/// The state, and the nonce of who wrote it.
pub(crate) fn decode_content(
    key: &ConnectionKey,
    item: Item,
) -> Result<(ContentState, Nonce), StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let progress = body
        .progress
        .map(|progress| progress_from(key, progress, &place));
    let state = ContentState {
        revision: body.revision,
        dealt: body.dealt.map(|(number, how)| {
            let how = match how {
                DealtText::Stored => Dealt::Stored,
                DealtText::Unavailable(reason) => Dealt::Unavailable { reason },
                DealtText::Skipped(rule) => Dealt::Skipped { rule },
                DealtText::Released => Dealt::Released,
            };
            (number, how)
        }),
        progress: progress.transpose()?,
        failures: body.failures,
        exported: body.exported.map(at),
        due_at: body.due_at.map(at),
    };
    Ok((state, Nonce(body.nonce)))
}

fn progress_from(
    key: &ConnectionKey,
    body: ProgressBody,
    place: &Key,
) -> Result<Progress, StoreError> {
    let hash = |text: Checksum| {
        let parsed = ContentHash::parse(&text.into_text());
        parsed.map_err(|_| place.clone().corrupt("its hash can't be read"))
    };
    Ok(match body {
        ProgressBody::Download(body) => Progress::Download(Download {
            number: body.number,
            hash: hash(body.hash)?,
            object: object_key(&key.tenant, &body.object, place)?,
            upload: UploadId::new(body.upload),
            part_bytes: body.part_bytes,
            parts: body.parts,
            done_bytes: body.done_bytes,
            hash_state: match body.hash_state {
                Checksum::Bytes(bytes) => bytes,
                Checksum::Text(text) => text.into_bytes(),
            },
            began_at: at(body.began_at),
        }),
        ProgressBody::Upload(body) => Progress::Upload(Upload {
            number: body.number,
            hash: hash(body.hash)?,
            attempt: AttemptId(body.attempt),
            session_uri: body.session,
            done_bytes: body.done_bytes,
            began_at: at(body.began_at),
        }),
        ProgressBody::Copy { number, file } => Progress::Copy {
            number,
            file: FileId::parse(&file).map_err(|_| place.clone().corrupt("its copy is no file"))?,
        },
    })
}
