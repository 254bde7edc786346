//! The check of each assumption, each with a scratch file of its own.

use std::time::Duration;

use drive::Assumption;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::account::{Account, Answer, CheckError, at, empty, json_body};
use super::{Outcome, Scope};

const TEXT: &str = "text/plain";
const STALE: u16 = StatusCode::PRECONDITION_FAILED.as_u16();

/// What is checked where.
pub(super) struct Check<'a> {
    pub(super) account: &'a Account,
    pub(super) folder: &'a str,
    pub(super) scope: &'a Scope,
}

impl Check<'_> {
    /// Checks one assumption.
    pub(super) async fn run(&self, assumption: Assumption) -> Result<Outcome, CheckError> {
        match assumption {
            Assumption::StarMovesEtag => self.moves_etag(&[("", json!({"starred": true}))]).await,
            Assumption::MoveMovesEtag => self.move_moves_etag().await,
            Assumption::TrashMovesEtag => {
                let both = [json!({"trashed": true}), json!({"trashed": false})];
                self.moves_etag(&both.map(|body| ("", body))).await
            }
            Assumption::PropertyMovesEtag => {
                let body = json!({"properties": {"drivesync": "checked"}});
                self.moves_etag(&[("", body)]).await
            }
            Assumption::StaleEtagIsRefused => self.stale_patch().await,
            Assumption::StaleEtagStopsDeletion => self.stale_deletion().await,
            Assumption::StaleEtagStopsUpload => self.stale_upload().await,
            Assumption::StaleEtagStopsSession => self.stale_session().await,
            Assumption::CurrentEtagIsAccepted => self.current_etag().await,
            Assumption::PatchTrashes => self.patch_trashes().await,
            Assumption::NullDeletesProperty => self.null_deletes().await,
            Assumption::PropertiesSentBackStay => self.sent_back_stay().await,
            Assumption::InvalidPageTokenIsLocated => self.invalid_token().await,
            Assumption::SharingMovesVersion => self.sharing_moves_version().await,
            Assumption::VersionsAgree => self.versions_agree().await,
        }
    }

    async fn file(&self) -> Result<String, CheckError> {
        let folder = Some(self.folder);
        self.account.create(folder, "checked.txt", TEXT).await
    }

    /// Renames a file as a person does, so that what was read of it before is stale.
    async fn rename(&self, file: &str) -> Result<(), CheckError> {
        let name = json!({"name": "renamed.txt"});
        self.account.change(file, "", name).await
    }

    async fn moves_etag(&self, changes: &[(&str, Value)]) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        self.moves_etag_of(&file, changes).await
    }

    async fn moves_etag_of(
        &self,
        file: &str,
        changes: &[(&str, Value)],
    ) -> Result<Outcome, CheckError> {
        for (query, body) in changes {
            let before = self.account.etag(file).await?;
            self.account.change(file, query, body.clone()).await?;
            if self.account.etag(file).await? == before {
                return Ok(Outcome::broken(format!("{body} left the etag as it was")));
            }
        }
        Ok(Outcome::Holds)
    }

    async fn move_moves_etag(&self) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        let folder = drive::FOLDER;
        let target = self.account.create(Some(self.folder), "target", folder);
        let query = format!(
            "&addParents={}&removeParents={}",
            target.await?,
            self.folder
        );
        self.moves_etag_of(&file, &[(query.as_str(), json!({}))])
            .await
    }

    async fn stale_patch(&self) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        let etag = self.account.etag(&file).await?;
        self.rename(&file).await?;
        let body = json!({"title": "overwritten.txt"});
        let answer = self.account.patch(&file, Some(&etag), &body).await?;
        refused(answer)
    }

    async fn stale_deletion(&self) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        let etag = self.account.etag(&file).await?;
        self.rename(&file).await?;
        let target = format!("/drive/v2/files/{file}");
        let deleted = self
            .account
            .send(Method::DELETE, &target, Some(&etag), empty());
        refused(deleted.await?)
    }

    async fn stale_upload(&self) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        self.account.upload(&file, None, "first").await?.ok()?;
        let etag = self.account.etag(&file).await?;
        self.rename(&file).await?;
        refused(self.account.upload(&file, Some(&etag), "second").await?)
    }

    async fn stale_session(&self) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        self.account.upload(&file, None, "first").await?.ok()?;
        let etag = self.account.etag(&file).await?;
        self.rename(&file).await?;
        let at_start = self.start_session(&file, &etag).await?;
        // A session that began before the change, and ends after it.
        let etag = self.account.etag(&file).await?;
        let session = self.start_session(&file, &etag).await?.ok()?;
        let name = json!({"name": "renamed-again.txt"});
        self.account.change(&file, "", name).await?;
        let location = session.headers.get(header::LOCATION);
        let location = location
            .and_then(|value| value.to_str().ok())
            .and_then(|value| url::Url::parse(value).ok());
        let Some(location) = location else {
            return Ok(Outcome::Unknown("a session has no address".to_owned()));
        };
        let query = location.query().unwrap_or_default();
        let target = format!("{}?{query}", location.path());
        let bytes = (TEXT, "second".into());
        let at_end = self.account.send(Method::PUT, &target, None, bytes).await?;
        Ok(match (at_start.status, at_end.status) {
            (STALE, STALE) => Outcome::Holds,
            (start, end) if start < 300 || end < 300 => Outcome::broken(format!(
                "a stale etag was answered {start} at the start and {end} at the last byte"
            )),
            (start, end) => Outcome::Unknown(format!(
                "{start} at the start and {end} at the last byte are neither a success nor 412"
            )),
        })
    }

    async fn start_session(&self, file: &str, etag: &str) -> Result<Answer, CheckError> {
        let target =
            format!("/upload/drive/v2/files/{file}?uploadType=resumable&updateViewedDate=false");
        let body = json_body(&json!({}));
        let started = self.account.send(Method::PUT, &target, Some(etag), body);
        started.await
    }

    async fn current_etag(&self) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        self.account.upload(&file, None, "first").await?.ok()?;
        for write in 1..=self.scope.writes {
            let etag = self.account.etag(&file).await?;
            let body = json!({"description": format!("write {write}")});
            let answer = self.account.patch(&file, Some(&etag), &body).await?;
            if answer.status == STALE {
                let outcome = format!("write {write} of a file that nobody changed was refused");
                return Ok(Outcome::broken(outcome));
            }
            answer.ok()?;
            tokio::time::sleep(self.scope.pause).await;
        }
        Ok(Outcome::Holds)
    }

    async fn patch_trashes(&self) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        for trashed in [true, false] {
            let body = json!({"labels": {"trashed": trashed}});
            self.account.patch(&file, None, &body).await?.ok()?;
            let shown = self.account.v3(&file).await?;
            let shown = at(&shown.body, "/explicitlyTrashed");
            if *shown != json!(trashed) {
                return Ok(Outcome::broken(format!(
                    "after labels.trashed = {trashed}, explicitlyTrashed is {shown}"
                )));
            }
        }
        Ok(Outcome::Holds)
    }

    async fn null_deletes(&self) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        let set = json!({"properties": {"drivesync": "checked"}});
        self.account.change(&file, "", set).await?;
        let body = json!({"properties": [
            {"key": "drivesync", "value": null, "visibility": "PUBLIC"},
        ]});
        self.account.patch(&file, None, &body).await?.ok()?;
        let shown = self.account.v3(&file).await?;
        Ok(match shown.body.pointer("/properties/drivesync") {
            None => Outcome::Holds,
            Some(value) => Outcome::broken(format!("after null, the property is {value}")),
        })
    }

    async fn sent_back_stay(&self) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        let set = json!({
            "properties": {"one": "1", "two": "2"}, "appProperties": {"three": "3"},
        });
        self.account.change(&file, "", set).await?;
        let body = json!({"properties": [
            {"key": "one", "value": "changed", "visibility": "PUBLIC"},
            {"key": "two", "value": "2", "visibility": "PUBLIC"},
            {"key": "three", "value": "3", "visibility": "PRIVATE"},
        ]});
        self.account.patch(&file, None, &body).await?.ok()?;
        let shown = self.account.v3(&file).await?;
        let of = |pointer| at(&shown.body, pointer);
        let shown = json!([of("/properties"), of("/appProperties")]);
        let expected = json!([{"one": "changed", "two": "2"}, {"three": "3"}]);
        Ok(if shown == expected {
            Outcome::Holds
        } else {
            Outcome::broken(format!("the properties became {shown}"))
        })
    }

    async fn invalid_token(&self) -> Result<Outcome, CheckError> {
        let target = "/drive/v3/changes?pageToken=1x";
        let answer = self
            .account
            .send(Method::GET, target, None, empty())
            .await?;
        let error = at(&answer.body, "/error/errors/0");
        let reason = at(error, "/reason");
        let located = at(error, "/location") == "pageToken"
            && (reason == "invalid" || reason == "invalidParameter");
        Ok(if answer.status == 400 && located {
            Outcome::Holds
        } else {
            let status = answer.status;
            Outcome::broken(format!(
                "an invalid token is answered {status} with {error}"
            ))
        })
    }

    async fn sharing_moves_version(&self) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        let permissions = format!("/drive/v3/files/{file}/permissions");
        let body = match &self.scope.share_with {
            Some(address) => json!({"type": "user", "emailAddress": address, "role": "reader"}),
            None => json!({"type": "anyone", "role": "reader"}),
        };
        let mut version = self.version(&file).await?;
        let quiet = match &self.scope.share_with {
            Some(_) => "&sendNotificationEmail=false",
            None => "",
        };
        let target = format!("{permissions}?fields=id{quiet}");
        let shared = self.account.json(Method::POST, &target, body).await?;
        let permission = shared.ok()?.text("id")?;
        let one = format!("{permissions}/{permission}");
        for (done, verb, body) in [
            ("sharing", None, json!({})),
            (
                "a change of the role",
                Some(Method::PATCH),
                json!({"role": "commenter"}),
            ),
            ("the end of the share", Some(Method::DELETE), Value::Null),
        ] {
            if let Some(verb) = verb {
                let body = if body.is_null() {
                    empty()
                } else {
                    json_body(&body)
                };
                let changed = self.account.send(verb, &one, None, body).await?;
                changed.ok()?;
            }
            let after = self.version(&file).await?;
            if after <= version {
                return Ok(Outcome::broken(format!(
                    "after {done}, the version is {after} as it was"
                )));
            }
            version = after;
        }
        Ok(Outcome::Holds)
    }

    async fn version(&self, file: &str) -> Result<u64, CheckError> {
        let version = self.account.v3(file).await?.text("version")?;
        version.parse().map_err(|_| CheckError::Incomplete {
            call: format!("GET {file}"),
            member: "version that is a number",
        })
    }

    async fn versions_agree(&self) -> Result<Outcome, CheckError> {
        let file = self.file().await?;
        self.account.upload(&file, None, "first").await?.ok()?;
        let set = json!({"properties": {"drivesync": "checked"}, "description": "checked"});
        self.account.change(&file, "", set).await?;
        // Drive moves a version by itself for a moment after an upload.
        let mut waited = Duration::ZERO;
        loop {
            let before = self.version(&file).await?;
            let v2 = self.account.v2(&file).await?.body;
            let v3 = self.account.v3(&file).await?.body;
            if at(&v3, "/version") == before.to_string().as_str() {
                return Ok(differences(&v2, &v3));
            }
            if waited > self.scope.pause.saturating_mul(self.scope.writes) {
                return Ok(Outcome::Unknown("the version moves by itself".to_owned()));
            }
            tokio::time::sleep(self.scope.pause).await;
            waited += self.scope.pause.max(Duration::from_millis(1));
        }
    }
}

/// Compares a file as v2 and v3 show it.
fn differences(v2: &Value, v3: &Value) -> Outcome {
    let pairs = [
        ("version", "/version", "/version"),
        ("name", "/title", "/name"),
        ("description", "/description", "/description"),
        ("modification time", "/modifiedDate", "/modifiedTime"),
        ("MD5", "/md5Checksum", "/md5Checksum"),
        ("size", "/fileSize", "/size"),
        ("star", "/labels/starred", "/starred"),
        ("trash", "/labels/trashed", "/trashed"),
        ("parent", "/parents/0/id", "/parents/0"),
    ];
    for (what, one, other) in pairs {
        let (one, other) = (at(v2, one), at(v3, other));
        if one != other {
            return Outcome::broken(format!("the {what} is {one} in v2 and {other} in v3"));
        }
    }
    Outcome::Holds
}

/// Returns whether a write with a stale etag was refused.
fn refused(answer: Answer) -> Result<Outcome, CheckError> {
    if answer.status == STALE {
        return Ok(Outcome::Holds);
    }
    let status = answer.ok()?.status;
    Ok(Outcome::broken(format!(
        "a write with a stale etag is answered {status}"
    )))
}
