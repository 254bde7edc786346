//! Every error reason that a client of Drive must distinguish.

use serde_json::{Value, json};

use super::World;

/// Status, reason, domain and location of an error.
type ApiError = (u16, String, String, Option<(String, String)>);

impl World {
    async fn api_error(&self, user: &str, method: &str, path: &str, body: Value) -> ApiError {
        let reply = self.call_as(user, method, path, body).await;
        let (status, reason) = reply.refused();
        let body: Value = serde_json::from_slice(&reply.bytes).expect("JSON");
        let detail = &body["error"]["errors"][0];
        let text = |name: &str| detail[name].as_str().map(str::to_owned);
        assert_eq!(body["error"]["message"], detail["message"]);
        let location = text("locationType").zip(text("location"));
        (status, reason, text("domain").expect("a domain"), location)
    }
}

fn expected(status: u16, reason: &str, domain: &str, location: Option<(&str, &str)>) -> ApiError {
    let location = location.map(|(kind, name)| (kind.to_owned(), name.to_owned()));
    (status, reason.to_owned(), domain.to_owned(), location)
}

#[tokio::test]
async fn errors_from_the_state_have_googles_reason_domain_and_location() {
    let world = World::new();
    let (file, folder) = (world.file("a"), world.folder("f", None));
    let document = json!({"name": "d", "mimeType": "application/vnd.google-apps.document"});
    let document = world.call("POST", "/drive/v3/files", document).await.ok()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let command = json!({"id": document, "export_bytes": 12_000_000});
    world.control("POST", "content", command).await;
    world.control("POST", "watches", json!({"refuse": 1})).await;
    let drive = world
        .simulator
        .create_drive("Team", &[("owner", crate::Role::Organizer)]);
    let start = world.start_token("owner", "").await;
    let parameter = |name: &'static str| Some(("parameter", name));
    let watch = json!({"id": "c", "type": "web_hook", "address": "http://127.0.0.1:9/"});
    let global = "global";
    let cases = [
        (
            "owner",
            "GET",
            "/drive/v3/changes?pageToken=x".to_owned(),
            Value::Null,
            expected(400, "invalid", global, parameter("pageToken")),
        ),
        (
            "owner",
            "GET",
            "/drive/v3/files?q=nonsense".to_owned(),
            Value::Null,
            expected(400, "invalid", global, parameter("q")),
        ),
        (
            "owner",
            "GET",
            "/drive/v3/files?fields=etag".to_owned(),
            Value::Null,
            expected(400, "invalidParameter", global, parameter("fields")),
        ),
        (
            "owner",
            "PATCH",
            format!("/drive/v3/files/{file}"),
            json!({"unknown": 1}),
            expected(400, "badRequest", global, None),
        ),
        (
            "",
            "GET",
            "/drive/v3/files".to_owned(),
            Value::Null,
            expected(401, "authError", global, Some(("header", "Authorization"))),
        ),
        (
            "alice",
            "DELETE",
            format!("/drive/v3/files/{file}"),
            Value::Null,
            expected(403, "insufficientFilePermissions", global, None),
        ),
        (
            "owner",
            "PATCH",
            format!(
                "/drive/v3/files/{folder}?addParents={drive}&removeParents=root\
                 &supportsAllDrives=true"
            ),
            json!({}),
            expected(403, "teamDrivesFolderMoveInNotSupported", global, None),
        ),
        (
            "owner",
            "GET",
            format!("/drive/v3/files/{document}/export?mimeType=application/pdf"),
            Value::Null,
            expected(403, "exportSizeLimitExceeded", global, None),
        ),
        (
            "owner",
            "GET",
            format!("/drive/v3/files/{file}/export?mimeType=application/pdf"),
            Value::Null,
            expected(403, "fileNotExportable", global, None),
        ),
        (
            "owner",
            "GET",
            format!("/drive/v3/files/{document}?alt=media"),
            Value::Null,
            expected(403, "fileNotDownloadable", global, parameter("alt")),
        ),
        (
            "owner",
            "POST",
            format!("/drive/v3/changes/watch?pageToken={start}"),
            watch,
            expected(403, "subscriptionRateLimitExceeded", "usageLimits", None),
        ),
        (
            "owner",
            "GET",
            "/drive/v3/files/nothing".to_owned(),
            Value::Null,
            expected(404, "notFound", global, parameter("fileId")),
        ),
        (
            "owner",
            "POST",
            "/drive/v3/files".to_owned(),
            json!({"id": file}),
            expected(409, "fileIdInUse", global, None),
        ),
    ];
    for (user, method, path, body, expected) in cases {
        assert_eq!(
            world.api_error(user, method, &path, body).await,
            expected,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn each_quota_limit_has_its_own_reason() {
    let world = World::new();
    for (command, reason) in [
        (
            json!({"units_per_minute_per_user": 1}),
            "userRateLimitExceeded",
        ),
        (json!({"units_per_minute": 1}), "rateLimitExceeded"),
    ] {
        world.control("POST", "quota", command).await;
        assert_eq!(
            world
                .api_error("owner", "GET", "/drive/v3/files", Value::Null)
                .await,
            expected(403, reason, "usageLimits", None)
        );
    }
}

#[tokio::test]
async fn faults_can_send_every_reason_with_googles_domain_and_location() {
    let world = World::new();
    let authorization = Some(("header", "Authorization"));
    for (status, reason, domain, location) in [
        (400, "badRequest", "global", None),
        (400, "invalid", "global", None),
        (400, "invalidParameter", "global", None),
        (400, "invalidSharingRequest", "global", None),
        (401, "authError", "global", authorization),
        (403, "rateLimitExceeded", "usageLimits", None),
        (403, "userRateLimitExceeded", "usageLimits", None),
        (403, "dailyLimitExceeded", "usageLimits", None),
        (403, "sharingRateLimitExceeded", "global", None),
        (403, "subscriptionRateLimitExceeded", "usageLimits", None),
        (403, "storageQuotaExceeded", "global", None),
        (403, "activeItemCreationLimitExceeded", "global", None),
        (403, "numChildrenInNonRootLimitExceeded", "global", None),
        (403, "teamDriveFileLimitExceeded", "global", None),
        (403, "myDriveHierarchyDepthLimitExceeded", "global", None),
        (403, "teamDriveHierarchyTooDeep", "global", None),
        (403, "insufficientFilePermissions", "global", None),
        (403, "appNotAuthorizedToFile", "global", None),
        (403, "domainPolicy", "global", None),
        (403, "teamDriveMembershipRequired", "global", None),
        (
            403,
            "cannotModifyInheritedTeamDrivePermission",
            "global",
            None,
        ),
        (403, "fileWriterTeamDriveMoveInDisabled", "global", None),
        (403, "fileOwnerNotMemberOfTeamDrive", "global", None),
        (403, "teamDrivesFolderMoveInNotSupported", "global", None),
        (403, "teamDrivesParentLimit", "global", None),
        (403, "exportSizeLimitExceeded", "global", None),
        (403, "fileNotExportable", "global", None),
        (403, "fileNotDownloadable", "global", None),
        (403, "cannotExportFile", "global", None),
        (404, "notFound", "global", None),
        (409, "fileIdInUse", "global", None),
        (
            412,
            "conditionNotMet",
            "global",
            Some(("header", "If-Match")),
        ),
        (429, "rateLimitExceeded", "usageLimits", None),
        (500, "backendError", "global", None),
        (502, "backendError", "global", None),
        (503, "backendError", "global", None),
        (504, "backendError", "global", None),
    ] {
        let fault = json!({
            "match": "GET /drive/v3/files", "respond": {"status": status, "reason": reason},
        });
        world.control("POST", "faults", fault).await;
        let found = world
            .api_error("owner", "GET", "/drive/v3/files", Value::Null)
            .await;
        assert_eq!(found, expected(status, reason, domain, location));
    }
}
