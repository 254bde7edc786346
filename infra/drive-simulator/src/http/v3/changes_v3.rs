//! v3 `changes`, `files.watch` and `channels.stop`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    clock::rfc3339,
    errors::DriveError,
    fields::{Object, Selection},
    http::{
        call::Call,
        request_body,
        response::ApiResponse,
        v3::{resources_v3, shapes_v3},
    },
    ids::{DriveId, UserId},
    simulator::Simulator,
    state::{
        State,
        change_logs::{
            change_feed::{ChangeView, FeedRequest, Log},
            change_log::Subject,
            channels::{Notification, WatchRequest, Watched, WatchedResource},
        },
    },
};

/// A channel as a client sends it.
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
        request_body::deserialize(request_body::parse_resource(
            &call.body,
            &shapes_v3::CHANNEL,
        )?)
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

/// Returns the log that a call names. A shared drive's log needs `supportsAllDrives`.
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
) -> Result<ApiResponse, DriveError> {
    let log = log(&call)?;
    let token = simulator.with_state(|state| state.start_page_token(&call.user, &log))?;
    Ok(ApiResponse::Json(call.selection.filter(
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
        page_size: call.params.page_size("pageSize", 100)?.min(1_000),
        include_removed: params.flag("includeRemoved", true)?,
        include_all_drives: call.include_all_drives()?,
        include_corpus_removals: params.flag("includeCorpusRemovals", false)?,
        my_drive_only: params.flag("restrictToMyDrive", false)?,
        app_data_only: params.only_app_data()?,
        log,
    })
}

/// `changes.list`.
pub(crate) async fn list(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let request = feed_request(&call)?;
    simulator.count_log(match &request.log {
        Log::User => format!("user:{}", call.user),
        Log::Drive(id) => format!("drive:{id}"),
    });
    let page = simulator.with_state(|state| state.changes(&call.user, &request))?;
    let of_file = call
        .selection
        .member("changes")
        .and_then(|inner| inner.member("file"));
    if let Some(inner) = of_file {
        resources_v3::prepare_checksums(
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
        // Only changes of drives, which are rare, need the state again.
        let drive = |change: &ChangeView, part: &Selection| {
            simulator.with_state(|state| drive_of(state, &call.user, change, part))
        };
        Some(
            page.changes
                .iter()
                .map(|entry| change(entry, &request.log, inner, drive))
                .collect(),
        )
    });
    Ok(ApiResponse::Json(out.finish()))
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
    resources_v3::drive(state, id, user, selection)
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
                change
                    .file
                    .as_ref()
                    .map(|view| resources_v3::file(view, inner))
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
pub(crate) async fn watch(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let request = feed_request(&call)?;
    let requested = ChannelBody::read(&call)?.into_request()?;
    let notification = simulator.with_state(|state| {
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
        let resource = WatchedResource {
            id: resource_id(&name),
            uri,
            include_all_drives: request.include_all_drives,
        };
        open(state, requested, watched, &call.user, resource)
    })?;
    Ok(ApiResponse::Json(
        call.selection.filter(channel(&notification)),
    ))
}

/// `files.watch`.
pub(crate) async fn watch_file(
    simulator: Simulator,
    call: Call,
) -> Result<ApiResponse, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let requested = ChannelBody::read(&call)?.into_request()?;
    let notification = simulator.with_state(|state| {
        let view = state.find(&call.user, id, all_drives)?;
        let uri = format!(
            "https://www.googleapis.com/drive/v3/files/{}?alt=json",
            view.item.id
        );
        let resource = WatchedResource {
            id: resource_id(view.item.id.as_str()),
            uri,
            include_all_drives: all_drives,
        };
        open(
            state,
            requested,
            Watched::File(view.item.id.clone()),
            &call.user,
            resource,
        )
    })?;
    Ok(ApiResponse::Json(
        call.selection.filter(channel(&notification)),
    ))
}

fn open(
    state: &mut State,
    requested: WatchRequest,
    watched: Watched,
    user: &UserId,
    resource: WatchedResource,
) -> Result<Notification, DriveError> {
    let now_ms = state.now_ms;
    state.admit_watch(&watched)?;
    let notification = state
        .channels
        .open(requested, watched, user.clone(), resource, now_ms)?;
    // `sync` is sent before the response, as Drive may do.
    state.send(notification.clone());
    Ok(notification)
}

/// Returns the opaque id of a watched resource, the same for every channel on it.
fn resource_id(name: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use sha2::{Digest, Sha256};
    URL_SAFE_NO_PAD
        .encode(Sha256::digest(name.as_bytes()))
        .chars()
        .take(27)
        .collect()
}

fn channel(notification: &Notification) -> Value {
    let channel = &notification.channel;
    let mut rendered = json!({
        "kind": "api#channel", "id": channel.id, "resourceId": channel.resource_id,
        "resourceUri": channel.resource_uri, "expiration": channel.expires_ms.to_string(),
    });
    if let (Some(token), Some(members)) = (&channel.token, rendered.as_object_mut()) {
        members.insert("token".to_owned(), json!(token));
    }
    rendered
}

/// `channels.stop`.
pub(crate) async fn stop(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let channel = ChannelBody::read(&call)?;
    let id = channel.id.ok_or_else(|| DriveError::required("id"))?;
    let resource_id = channel
        .resource_id
        .ok_or_else(|| DriveError::required("resourceId"))?;
    simulator.with_state(|state| state.channels.stop(&id, &resource_id, &call.user))?;
    Ok(ApiResponse::Empty)
}
