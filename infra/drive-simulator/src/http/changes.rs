//! v3 `changes`, `files.watch` and `channels.stop`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Simulator,
    clock::rfc3339,
    errors::DriveError,
    fields::{Object, Selection},
    http::{Answer, Call, body, files::page_size, render, shapes_v3},
    ids::{DriveId, UserId},
    state::{
        State,
        channel::{Notice, Resource, WatchRequest, Watched},
        feed::{ChangeView, FeedRequest, Log},
        log::Subject,
    },
};

/// A channel as a client writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ChannelBody {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    address: Option<String>,
    token: Option<String>,
    expiration: Option<Value>,
    resource_id: Option<String>,
}

impl ChannelBody {
    fn read(call: &Call) -> Result<Self, DriveError> {
        body::typed(body::resource(&call.body, &shapes_v3::CHANNEL)?)
    }

    fn into_request(self) -> Result<WatchRequest, DriveError> {
        let expiration_ms = match &self.expiration {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(
                text.parse()
                    .map_err(|_| DriveError::invalid("expiration"))?,
            ),
            Some(other) => Some(
                other
                    .as_i64()
                    .ok_or_else(|| DriveError::invalid("expiration"))?,
            ),
        };
        Ok(WatchRequest {
            id: self.id,
            kind: self.kind,
            address: self.address,
            token: self.token,
            expiration_ms,
        })
    }
}

/// `includeItemsFromAllDrives`, which counts only together with `supportsAllDrives`.
pub(crate) fn include_all_drives(call: &Call) -> Result<bool, DriveError> {
    let asked = call.params.flag("includeItemsFromAllDrives", false)?
        || call.params.flag("includeTeamDriveItems", false)?;
    let supported = call.all_drives()?;
    Ok(asked && supported)
}

/// The log that a call names. A shared drive's needs `supportsAllDrives`.
fn log(call: &Call) -> Result<Log, DriveError> {
    match call
        .params
        .text("driveId")
        .or_else(|| call.params.text("teamDriveId"))
    {
        None => Ok(Log::User),
        Some(id) if call.all_drives()? => Ok(Log::Drive(DriveId::from(id))),
        Some(id) => Err(DriveError::drive_not_found(id)),
    }
}

/// `changes.getStartPageToken`.
pub(crate) async fn start_page_token(
    simulator: Simulator,
    call: Call,
) -> Result<Answer, DriveError> {
    let log = log(&call)?;
    let token = simulator.with(|state| state.start_page_token(&call.user, &log))?;
    Ok(Answer::Json(call.selection.filter(
        json!({"kind": "drive#startPageToken", "startPageToken": token}),
    )))
}

fn feed_request(call: &Call) -> Result<FeedRequest, DriveError> {
    let params = &call.params;
    let log = log(call)?;
    Ok(FeedRequest {
        page_token: params
            .text("pageToken")
            .ok_or_else(|| DriveError::required("pageToken"))?
            .to_owned(),
        page_size: page_size(call, 100)?.min(1_000),
        include_removed: params.flag("includeRemoved", true)?,
        include_all_drives: include_all_drives(call)?,
        include_corpus_removals: params.flag("includeCorpusRemovals", false)?,
        my_drive_only: params.flag("restrictToMyDrive", false)?,
        nothing: params.only_app_data()?,
        log,
    })
}

/// `changes.list`.
pub(crate) async fn list(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let request = feed_request(&call)?;
    simulator.count_log(match &request.log {
        Log::User => format!("user:{}", call.user),
        Log::Drive(id) => format!("drive:{id}"),
    });
    let page = simulator.with(|state| state.changes(&call.user, &request))?;
    let of_file = call
        .selection
        .member("changes")
        .and_then(|inner| inner.member("file"));
    if let Some(inner) = of_file {
        render::prepare(
            page.changes
                .iter()
                .filter_map(|change| change.file.as_ref()),
            inner,
        )
        .await;
    }
    let mut out = Object::new(&call.selection);
    out.put("kind", || "drive#changeList");
    out.put_some("nextPageToken", || page.next_page_token);
    out.put_some("newStartPageToken", || page.new_start_page_token);
    out.put_built("changes", |inner| {
        // Only the rare changes of drives need the state again.
        let drive = |change: &ChangeView, part: &Selection| {
            simulator.with(|state| drive_of(state, &call.user, change, part))
        };
        Some(
            page.changes
                .iter()
                .map(|entry| change(entry, &request.log, inner, drive))
                .collect(),
        )
    });
    Ok(Answer::Json(out.finish()))
}

fn drive_of(
    state: &State,
    user: &UserId,
    change: &ChangeView,
    selection: &Selection,
) -> Option<Value> {
    let Subject::Drive(id) = &change.subject else {
        return None;
    };
    render::drive(state, id, user, selection)
}

fn change(
    change: &ChangeView,
    log: &Log,
    selection: &Selection,
    drive: impl Fn(&ChangeView, &Selection) -> Option<Value>,
) -> Value {
    let mut out = Object::new(selection);
    out.put("kind", || "drive#change");
    out.put("time", || rfc3339(change.time_ms));
    out.put("removed", || change.removed);
    match &change.subject {
        Subject::File(id) => {
            out.put("changeType", || "file");
            out.put("type", || "file");
            out.put("fileId", || id.as_str());
            out.put_built("file", |inner| {
                change.file.as_ref().map(|view| render::file(view, inner))
            });
            out.put_some("driveId", || match log {
                Log::Drive(id) => Some(id.to_string()),
                Log::User => change
                    .file
                    .as_ref()
                    .and_then(|view| view.drive())
                    .map(DriveId::to_string),
            });
        }
        Subject::Drive(id) => {
            out.put("changeType", || "drive");
            out.put("type", || "drive");
            out.put("driveId", || id.as_str());
            out.put_built("drive", |inner| drive(change, inner));
        }
    }
    out.finish()
}

/// `changes.watch`.
pub(crate) async fn watch(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let request = feed_request(&call)?;
    let asked = ChannelBody::read(&call)?.into_request()?;
    let notice = simulator.with(|state| {
        state.position(&call.user, &request.log, &request.page_token)?;
        let (watched, name) = match &request.log {
            Log::User => (
                Watched::UserLog(call.user.clone()),
                format!("log:{}", call.user),
            ),
            Log::Drive(id) => (
                Watched::DriveLog(state.drive(&call.user, id.as_str())?.0),
                format!("log:{id}"),
            ),
        };
        let uri = format!(
            "https://www.googleapis.com/drive/v3/changes?alt=json&pageToken={}",
            request.page_token
        );
        let resource = Resource {
            id: resource_id(&name),
            uri,
            include_all_drives: request.include_all_drives,
        };
        open(state, asked, watched, &call.user, resource)
    })?;
    Ok(Answer::Json(call.selection.filter(channel(&notice))))
}

/// `files.watch`.
pub(crate) async fn watch_file(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let asked = ChannelBody::read(&call)?.into_request()?;
    let notice = simulator.with(|state| {
        let view = state.find(&call.user, id, all_drives)?;
        let uri = format!(
            "https://www.googleapis.com/drive/v3/files/{}?alt=json",
            view.item.id
        );
        let resource = Resource {
            id: resource_id(view.item.id.as_str()),
            uri,
            include_all_drives: all_drives,
        };
        open(
            state,
            asked,
            Watched::File(view.item.id.clone()),
            &call.user,
            resource,
        )
    })?;
    Ok(Answer::Json(call.selection.filter(channel(&notice))))
}

fn open(
    state: &mut State,
    asked: WatchRequest,
    watched: Watched,
    user: &UserId,
    resource: Resource,
) -> Result<Notice, DriveError> {
    let now_ms = state.now_ms;
    state.admit_watch(&watched)?;
    let notice = state
        .channels
        .open(asked, watched, user.clone(), resource, now_ms)?;
    // `sync` leaves before the answer does, as it may with Drive.
    state.send(notice.clone());
    Ok(notice)
}

/// An opaque name of a watched resource: the same for every channel on it.
fn resource_id(name: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use sha2::{Digest, Sha256};
    URL_SAFE_NO_PAD
        .encode(Sha256::digest(name.as_bytes()))
        .chars()
        .take(27)
        .collect()
}

fn channel(notice: &Notice) -> Value {
    let channel = &notice.channel;
    let mut answer = json!({"kind": "api#channel", "id": channel.id, "resourceId": channel.resource_id,
        "resourceUri": channel.resource_uri, "expiration": channel.expires_ms.to_string()});
    if let (Some(token), Some(members)) = (&channel.token, answer.as_object_mut()) {
        members.insert("token".to_owned(), json!(token));
    }
    answer
}

/// `channels.stop`.
pub(crate) async fn stop(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let channel = ChannelBody::read(&call)?;
    let id = channel.id.ok_or_else(|| DriveError::required("id"))?;
    let resource_id = channel
        .resource_id
        .ok_or_else(|| DriveError::required("resourceId"))?;
    simulator.with(|state| state.channels.stop(&id, &resource_id, &call.user))?;
    Ok(Answer::Empty)
}
