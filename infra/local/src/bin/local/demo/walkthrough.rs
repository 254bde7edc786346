//! `demo`: a first sync, an edit on each side, a conflict and its resolution.
#![expect(
    clippy::indexing_slicing,
    reason = "indexing a JSON value by an absent name returns null"
)]

use domain::ConnectionKey;
use local::system::System;
use serde_json::{Value, json};

use super::participants::{Application, Person};
use super::{Setup, Stage, run, wait_for};
use crate::cli::{Arguments, Failure, one_line, say};
use crate::drive_source::DriveSource;

/// Runs the walkthrough.
pub(crate) async fn demo(arguments: &Arguments) -> Result<(), Failure> {
    let setup = Setup {
        name: "demo",
        empty_library: false,
        content: false,
    };
    run(arguments, &setup, async |stage: &Stage| {
        let walkthrough = Walkthrough {
            system: &stage.system,
            drive: &stage.drive,
            connection: &stage.connection,
        };
        walkthrough.run().await
    })
    .await
}

struct Walkthrough<'a> {
    system: &'a System,
    drive: &'a DriveSource,
    connection: &'a ConnectionKey,
}

impl Walkthrough<'_> {
    async fn run(&self) -> Result<(), Failure> {
        let http = reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(10))
            .build();
        let http = http.map_err(|error| one_line(&error))?;
        let ana = Person {
            name: "ana",
            drive_url: &self.drive.url,
            http: &http,
        };
        let app = Application {
            system: self.system,
            connection: self.connection,
        };
        self.first_sync(&app).await?;
        let (file, name) = pick_file(&app).await?;
        self.collaborator_renames(&ana, &app, &file, &name).await?;
        self.application_describes(&ana, &app, &file).await?;
        let conflict = self.both_rename(&ana, &app, &file).await?;
        self.conflict_is_resolved(&ana, &app, &file, &conflict)
            .await?;
        let calls = self
            .drive
            .simulator
            .as_ref()
            .map(|simulator| simulator.counters());
        if let Some(counters) = calls {
            let calls: u64 = counters.calls.values().sum();
            say(&format!(
                "\nAll told: {calls} calls to Drive, {} quota units.",
                counters.quota_units
            ));
        }
        say("Both sides are equal, and nobody's edit was lost.");
        Ok(())
    }

    async fn first_sync(&self, app: &Application<'_>) -> Result<(), Failure> {
        let totals = self
            .drive
            .simulator
            .as_ref()
            .map(|simulator| simulator.totals());
        let total = totals.map_or(0, |totals| totals.files + totals.folders);
        say(&format!(
            "1. First sync: {total} files and folders are in Drive."
        ));
        let (files, millis) = wait_for(self.system, "the first sync", async || {
            let operations = app.get("/operations").await?;
            let done = operations["items"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|o| o["state"] == "done");
            Ok(done.map(|operation| operation["verified"].as_u64().unwrap_or(0)))
        })
        .await?;
        #[expect(clippy::cast_precision_loss, reason = "shown with whole digits")]
        let rate = files as f64 * 1_000.0 / millis.max(1) as f64;
        say(&format!(
            "   All {files} have a record of their own after {} ({rate:.0} files/s).",
            seconds(millis)
        ));
        if files == u64::try_from(total).unwrap_or(u64::MAX) {
            Ok(())
        } else {
            Err(format!("{total} were in Drive, but {files} arrived"))
        }
    }

    async fn collaborator_renames(
        &self,
        ana: &Person<'_>,
        app: &Application<'_>,
        file: &str,
        name: &str,
    ) -> Result<(), Failure> {
        let new = format!("Renamed by Ana - {name}");
        say(&format!("\n2. In Drive, Ana renames `{name}` to `{new}`."));
        ana.change(file, json!({ "name": new })).await?;
        let ((), millis) = self.api_shows(app, file, "name", &json!(new)).await?;
        say(&format!("   Our API shows it after {}.", seconds(millis)));
        Ok(())
    }

    async fn application_describes(
        &self,
        ana: &Person<'_>,
        app: &Application<'_>,
        file: &str,
    ) -> Result<(), Failure> {
        let text = "Described by the application";
        say(&format!(
            "\n3. At our API, the application sets the description: `{text}`."
        ));
        app.change(file, json!({ "description": text })).await?;
        let ((), millis) = self
            .drive_shows(ana, file, "description", &json!(text))
            .await?;
        say(&format!("   Drive shows it after {}.", seconds(millis)));
        wait_for(self.system, "the confirmation", async || {
            Ok(app.get(&format!("/files/{file}")).await?["intent"]
                .is_null()
                .then_some(()))
        })
        .await?;
        Ok(())
    }

    async fn both_rename(
        &self,
        ana: &Person<'_>,
        app: &Application<'_>,
        file: &str,
    ) -> Result<Value, Failure> {
        say(
            "\n4. Both at once: the application renames the file to `Plan A`, \
             Ana renames it to `Plan B`.",
        );
        app.change(file, json!({"name": "Plan A"})).await?;
        ana.change(file, json!({"name": "Plan B"})).await?;
        let (conflict, millis) = wait_for(self.system, "the conflict", async || {
            let open = app.get("/conflicts?status=open").await?;
            Ok(open["items"]
                .as_array()
                .and_then(|items| items.first())
                .cloned())
        })
        .await?;
        say(&format!(
            "   Nothing is overwritten. After {}, one conflict is open on `{}`:",
            seconds(millis),
            text(&conflict["field"])
        ));
        for side in ["base", "app", "drive"] {
            say(&format!("     {side:<6} {}", conflict[side]));
        }
        Ok(conflict)
    }

    async fn conflict_is_resolved(
        &self,
        ana: &Person<'_>,
        app: &Application<'_>,
        file: &str,
        conflict: &Value,
    ) -> Result<(), Failure> {
        say("\n5. Someone decides for the application's side.");
        app.resolve(text(&conflict["id"]), "app").await?;
        let wanted = conflict["app"].clone();
        let ((), millis) = self.drive_shows(ana, file, "name", &wanted).await?;
        say(&format!(
            "   Drive shows {wanted} after {}; the record keeps {} as what it cost.",
            seconds(millis),
            conflict["drive"]
        ));
        wait_for(self.system, "both sides being equal", async || {
            let record = app.get(&format!("/files/{file}")).await?;
            let agreed = record["intent"].is_null()
                && record["conflicts"].as_array().is_some_and(Vec::is_empty);
            Ok((agreed && record["fields"]["name"] == wanted).then_some(()))
        })
        .await?;
        Ok(())
    }

    async fn api_shows(
        &self,
        app: &Application<'_>,
        file: &str,
        field: &str,
        value: &Value,
    ) -> Result<((), i64), Failure> {
        wait_for(self.system, "the change at our API", async || {
            let record = app.get(&format!("/files/{file}")).await?;
            Ok((record["fields"][field] == *value).then_some(()))
        })
        .await
    }

    async fn drive_shows(
        &self,
        ana: &Person<'_>,
        file: &str,
        field: &str,
        value: &Value,
    ) -> Result<((), i64), Failure> {
        wait_for(self.system, "the change in Drive", async || {
            Ok((ana.field(file, field).await? == *value).then_some(()))
        })
        .await
    }
}

/// Returns the id and the name of a file that is not a folder.
async fn pick_file(app: &Application<'_>) -> Result<(String, String), Failure> {
    let listed = app.get("/files?limit=50").await?;
    let items = listed["items"].as_array().cloned().unwrap_or_default();
    let plain = items
        .iter()
        .find(|file| file["fields"]["mime_type"] != "application/vnd.google-apps.folder");
    let file = plain.ok_or("the library has no file for the demo: pass another --library")?;
    Ok((
        text(&file["id"]).to_owned(),
        text(&file["fields"]["name"]).to_owned(),
    ))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn seconds(millis: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let seconds = millis as f64 / 1_000.0;
    format!("{seconds:.2} s")
}
