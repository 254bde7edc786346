//! The item of a file's content state. With a transfer in progress it takes 1.3 KB at most, however
//! large the content: the parts are listed by S3, and 10,000 of them would not fit into an item.

use domain::content::{
    ContentHash, ContentOutcome, ContentState, Download, Progress, Trouble, Upload, UploadId,
    Verdict,
};
use domain::{AttemptId, ConnectionKey, DriveVersion, FileId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::content::version_item::{hash_item, object_key};
use crate::file::value_item::at;
use crate::table::item::{Checksum, Encoded, decode, encode};
use crate::table::key::{Index, Item, Key, connection_pk, due_place, millis_13};
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trouble: Option<TroubleBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exported_version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drive_side: Option<Checksum>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copy_of: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct TroubleBody {
    of: String,
    reason: String,
    verdict: VerdictText,
    since: i64,
    asked_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum VerdictText {
    Passing,
    Refused,
    Forbidden,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_revision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<String>,
}

/// Encodes a state under its own revision.
pub(crate) fn encode_content(
    key: &ConnectionKey,
    file: &FileId,
    state: &ContentState,
    nonce: Nonce,
) -> Result<Encoded, StoreError> {
    let dealt = |dealt: &ContentOutcome| match dealt {
        ContentOutcome::Stored => DealtText::Stored,
        ContentOutcome::Unavailable { reason } => DealtText::Unavailable(reason.clone()),
        ContentOutcome::Skipped { rule } => DealtText::Skipped(rule.clone()),
        ContentOutcome::Released => DealtText::Released,
    };
    let body = Body {
        revision: state.revision,
        nonce: nonce.0,
        dealt: state.outcome.as_ref().map(|(n, how)| (*n, dealt(how))),
        progress: state.progress.as_ref().map(progress_body),
        failures: state.failures,
        exported: state.exported.map(Timestamp::as_millis),
        due_at: state.due_at.map(Timestamp::as_millis),
        trouble: state.trouble.as_ref().map(TroubleBody::of),
        exported_version: Some(state.exported_version.0).filter(|version| *version > 0),
        drive_side: state.drive_side.as_ref().map(hash_item),
        copy_of: state.copy_of.as_ref().map(ToString::to_string),
    };
    let place = Key::content(key, file);
    let mut item = encode(&place, &body)?;
    if let Some(due) = state.due_at {
        item.place(Index::Due, due_place(&place, due));
    }
    if let Some(trouble) = &state.trouble {
        let since = millis_13(trouble.since);
        item.place(
            Index::Attention,
            (connection_pk(key), format!("{TROUBLE}{since}#{file}")),
        );
    }
    Ok(item)
}

/// The prefix of the sort key of content that could not be had in the index `attention`.
pub(crate) const TROUBLE: &str = "content#";

impl TroubleBody {
    fn of(trouble: &Trouble) -> Self {
        Self {
            of: trouble.of.clone(),
            reason: trouble.reason.clone(),
            verdict: match trouble.verdict {
                Verdict::Passing => VerdictText::Passing,
                Verdict::Refused => VerdictText::Refused,
                Verdict::Forbidden => VerdictText::Forbidden,
            },
            since: trouble.since.as_millis(),
            asked_at: trouble.asked_at.as_millis(),
        }
    }

    fn into_trouble(self) -> Trouble {
        Trouble {
            of: self.of,
            reason: self.reason,
            verdict: match self.verdict {
                VerdictText::Passing => Verdict::Passing,
                VerdictText::Refused => Verdict::Refused,
                VerdictText::Forbidden => Verdict::Forbidden,
            },
            since: at(self.since),
            asked_at: at(self.asked_at),
        }
    }
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
            base_revision: upload.base_revision.clone(),
            kept: upload.kept.as_ref().map(ToString::to_string),
        }),
        Progress::Copy { number, file } => ProgressBody::Copy {
            number: *number,
            file: file.to_string(),
        },
    }
}

/// Decodes the state, and the nonce of its last writer.
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
        outcome: body.dealt.map(|(number, how)| {
            let how = match how {
                DealtText::Stored => ContentOutcome::Stored,
                DealtText::Unavailable(reason) => ContentOutcome::Unavailable { reason },
                DealtText::Skipped(rule) => ContentOutcome::Skipped { rule },
                DealtText::Released => ContentOutcome::Released,
            };
            (number, how)
        }),
        progress: progress.transpose()?,
        failures: body.failures,
        exported: body.exported.map(at),
        due_at: body.due_at.map(at),
        trouble: body.trouble.map(TroubleBody::into_trouble),
        exported_version: DriveVersion(body.exported_version.unwrap_or(0)),
        drive_side: body
            .drive_side
            .map(|hash| content_hash(hash, &place))
            .transpose()?,
        copy_of: body
            .copy_of
            .map(|file| copy_id(&file, &place))
            .transpose()?,
    };
    Ok((state, Nonce(body.nonce)))
}

fn progress_from(
    key: &ConnectionKey,
    body: ProgressBody,
    place: &Key,
) -> Result<Progress, StoreError> {
    let hash = |text: Checksum| content_hash(text, place);
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
            base_revision: body.base_revision,
            kept: body.kept.map(|file| copy_id(&file, place)).transpose()?,
        }),
        ProgressBody::Copy { number, file } => Progress::Copy {
            number,
            file: copy_id(&file, place)?,
        },
    })
}

fn copy_id(file: &str, place: &Key) -> Result<FileId, StoreError> {
    FileId::parse(file).map_err(|_| place.clone().corrupt("the id of its copy is invalid"))
}

fn content_hash(text: Checksum, place: &Key) -> Result<ContentHash, StoreError> {
    let parsed = ContentHash::parse(&text.into_text());
    parsed.map_err(|_| place.clone().corrupt("its hash is invalid"))
}
