//! Every reason that a client of Drive must tell apart.

use serde_json::{Value, json};

use super::World;

/// Status, reason, domain and location of a refusal.
type Refusal = (u16, String, String, Option<(String, String)>);

impl World {
    async fn refusal(&self, user: &str, method: &str, path: &str, body: Value) -> Refusal {
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

fn refusal(status: u16, reason: &str, domain: &str, location: Option<(&str, &str)>) -> Refusal {
    let location = location.map(|(kind, name)| (kind.to_owned(), name.to_owned()));
    (status, reason.to_owned(), domain.to_owned(), location)
}

#[tokio::test]
async fn refusals_that_the_state_brings_about_have_googles_reason_domain_and_place() {
    let world = World::new();
    let (file, folder) = (world.file("a"), world.folder("f", None));
    let document = json!({"name": "d", "mimeType": "application/vnd.google-apps.document"});
    let document = world.call("POST", "/drive/v3/files", document).await.ok()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let order = json!({"id": document, "export_bytes": 12_000_000});
    world.control("POST", "content", order).await;
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
            refusal(400, "invalid", global, parameter("pageToken")),
        ),
        (
            "owner",
            "GET",
            "/drive/v3/files?q=nonsense".to_owned(),
            Value::Null,
            refusal(400, "invalid", global, parameter("q")),
        ),
        (
            "owner",
            "GET",
            "/drive/v3/files?fields=etag".to_owned(),
            Value::Null,
            refusal(400, "invalidParameter", global, parameter("fields")),
        ),
        (
            "owner",
            "PATCH",
            format!("/drive/v3/files/{file}"),
            json!({"unknown": 1}),
            refusal(400, "badRequest", global, None),
        ),
        (
            "",
            "GET",
            "/drive/v3/files".to_owned(),
            Value::Null,
            refusal(401, "authError", global, Some(("header", "Authorization"))),
        ),
        (
            "alice",
            "DELETE",
            format!("/drive/v3/files/{file}"),
            Value::Null,
            refusal(403, "insufficientFilePermissions", global, None),
        ),
        (
            "owner",
            "PATCH",
            format!(
                "/drive/v3/files/{folder}?addParents={drive}&removeParents=root&supportsAllDrives=true"
            ),
            json!({}),
            refusal(403, "teamDrivesFolderMoveInNotSupported", global, None),
        ),
        (
            "owner",
            "GET",
            format!("/drive/v3/files/{document}/export?mimeType=application/pdf"),
            Value::Null,
            refusal(403, "exportSizeLimitExceeded", global, None),
        ),
        (
            "owner",
            "GET",
            format!("/drive/v3/files/{file}/export?mimeType=application/pdf"),
            Value::Null,
            refusal(403, "fileNotExportable", global, None),
        ),
        (
            "owner",
            "GET",
            format!("/drive/v3/files/{document}?alt=media"),
            Value::Null,
            refusal(403, "fileNotDownloadable", global, parameter("alt")),
        ),
        (
            "owner",
            "POST",
            format!("/drive/v3/changes/watch?pageToken={start}"),
            watch,
            refusal(403, "subscriptionRateLimitExceeded", "usageLimits", None),
        ),
        (
            "owner",
            "GET",
            "/drive/v3/files/nothing".to_owned(),
            Value::Null,
            refusal(404, "notFound", global, parameter("fileId")),
        ),
        (
            "owner",
            "POST",
            "/drive/v3/files".to_owned(),
            json!({"id": file}),
            refusal(409, "fileIdInUse", global, None),
        ),
    ];
    for (user, method, path, body, expected) in cases {
        assert_eq!(
            world.refusal(user, method, &path, body).await,
            expected,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn both_budgets_have_a_reason_of_their_own() {
    let world = World::new();
    for (order, reason) in [
        (
            json!({"units_per_minute_per_user": 1}),
            "userRateLimitExceeded",
        ),
        (json!({"units_per_minute": 1}), "rateLimitExceeded"),
    ] {
        world.control("POST", "quota", order).await;
        assert_eq!(
            world
                .refusal("owner", "GET", "/drive/v3/files", Value::Null)
                .await,
            refusal(403, reason, "usageLimits", None)
        );
    }
}

#[tokio::test]
async fn every_other_reason_can_be_ordered_and_has_googles_domain_message_and_place() {
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
        let fault = json!({"match": "GET /drive/v3/files", "respond": {"status": status, "reason": reason}});
        world.control("POST", "faults", fault).await;
        let found = world
            .refusal("owner", "GET", "/drive/v3/files", Value::Null)
            .await;
        assert_eq!(found, refusal(status, reason, domain, location));
    }
}
