//! The Drive to sync with: simulated in this process, simulated elsewhere, or Google's.

use std::net::SocketAddr;
use std::path::Path;

use drive::{
    ContentTimeouts, ContentTransport, Timeouts, Transport, reqwest_content_transport,
    reqwest_transport,
};
use drive_simulator::{LoadReport, Options, Role, Simulator};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::{Arguments, Failure, one_line};

/// The number of files in each simulated shared drive.
const FILES_PER_DRIVE: usize = 20;

/// A Drive to sync with.
pub(crate) struct DriveSource {
    /// Its URL, without a path.
    pub(crate) url: String,
    /// The transport to it.
    pub(crate) transport: Transport,
    /// The transport of its content.
    pub(crate) content: ContentTransport,
    /// The credentials, in the JSON form of the secret.
    pub(crate) credentials: String,
    /// The user that a service account acts as.
    pub(crate) subject: Option<String>,
    /// True if it can reach this machine with notifications.
    pub(crate) notifies: bool,
    /// The simulator, if it runs in this process.
    pub(crate) simulator: Option<Simulator>,
}

impl DriveSource {
    /// Returns the name that identifies this Drive in the data directory.
    pub(crate) fn name(&self) -> String {
        match (&self.simulator, &self.subject) {
            (Some(_), _) => EMBEDDED.to_owned(),
            (None, None) => self.url.clone(),
            (None, Some(subject)) => format!("{} as {subject}", self.url),
        }
    }

    /// Opens the Drive that the command line selects. A simulated one is served until `stop` is
    /// true.
    pub(crate) async fn open(
        arguments: &Arguments,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, Failure> {
        let transport = reqwest_transport(Timeouts::default()).map_err(|error| one_line(&error))?;
        let content = reqwest_content_transport(ContentTimeouts::default())
            .map_err(|error| one_line(&error))?;
        if let Some(file) = &arguments.google_key {
            return google(file, arguments.subject.clone(), (transport, content));
        }
        let (url, simulator) = match &arguments.drive_url {
            Some(url) => (url.trim_end_matches('/').to_owned(), None),
            None => {
                let (url, simulator) = simulate(arguments, stop).await?;
                create_shared_drives(&simulator, arguments.drives)?;
                (url, Some(simulator))
            }
        };
        let credentials = json!({
            "type": "authorized_user", "client_id": "drivesync", "client_secret": "none",
            "refresh_token": format!("user:{}", Simulator::library_owner()),
            "token_uri": format!("{url}/token"),
        });
        let credentials = credentials.to_string();
        Ok(Self {
            url,
            transport,
            content,
            credentials,
            subject: None,
            notifies: true,
            simulator,
        })
    }
}

/// The name of a Drive in the memory of this process.
pub(crate) const EMBEDDED: &str = "embedded";

fn google(
    file: &Path,
    subject: Option<String>,
    (transport, content): (Transport, ContentTransport),
) -> Result<DriveSource, Failure> {
    let failed = |why: &dyn std::fmt::Display| format!("the key file {} {why}", file.display());
    let text = std::fs::read_to_string(file)
        .map_err(|error| failed(&format!("cannot be read: {error}")))?;
    let key: Value =
        serde_json::from_str(&text).map_err(|error| failed(&format!("is not JSON: {error}")))?;
    let member = |name: &str| key.get(name).and_then(Value::as_str);
    if member("type") != Some("service_account") || member("private_key").is_none() {
        return Err(failed(
            &"is not the key of a service account: its `type` must be `service_account`",
        ));
    }
    Ok(DriveSource {
        url: "https://www.googleapis.com".to_owned(),
        transport,
        content,
        credentials: allowing(key, subject.as_deref()).unwrap_or(text),
        subject,
        notifies: false,
        simulator: None,
    })
}

/// Adds the user whom the account is to act as to those that the secret allows; `None` if there is
/// nothing to add.
fn allowing(mut key: Value, subject: Option<&str>) -> Option<String> {
    let allowed = key.as_object_mut()?.entry("allowed_subjects");
    let allowed = allowed.or_insert_with(|| json!([]));
    let subject = json!(subject?);
    let allowed = allowed.as_array_mut()?;
    if !allowed.contains(&subject) {
        allowed.push(subject);
    }
    Some(key.to_string())
}

async fn simulate(
    arguments: &Arguments,
    mut stop: watch::Receiver<bool>,
) -> Result<(String, Simulator), Failure> {
    let listener = listen(arguments.drive_addr, "--drive-addr").await?;
    let address = listener.local_addr().map_err(|error| one_line(&error))?;
    let simulator = Simulator::new(Options {
        library: Some(arguments.library.clone()),
        hosts: arguments.hosts(),
        ..Options::default()
    });
    load(&simulator, &arguments.library).await?;
    let server = simulator.clone();
    tokio::spawn(async move {
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        if let Err(error) = server.serve(listener, stopped).await {
            tracing::error!(%error, "the simulated Drive stopped listening");
        }
    });
    Ok((format!("http://{address}"), simulator))
}

/// Creates shared drives of the library's user, each with some files.
fn create_shared_drives(simulator: &Simulator, drives: usize) -> Result<(), Failure> {
    let user = Simulator::library_owner();
    for drive in 1..=drives {
        let id = simulator.create_drive(&format!("Team {drive}"), &[(user, Role::Organizer)]);
        for file in 1..=FILES_PER_DRIVE {
            let name = format!("team-{drive}-file-{file}.txt");
            let text = format!("File {file} of the shared drive Team {drive}.");
            let created = simulator.create_file(user, &name, Some(&id), text.into());
            created.map_err(|error| {
                format!("the shared drive Team {drive} cannot be filled: {error}")
            })?;
        }
    }
    Ok(())
}

async fn load(simulator: &Simulator, library: &Path) -> Result<LoadReport, Failure> {
    let (loader, path) = (simulator.clone(), library.to_owned());
    let loaded = tokio::task::spawn_blocking(move || loader.load_directory(&path)).await;
    let loaded = loaded.map_err(|error| one_line(&error))?;
    loaded.map_err(|error| {
        format!(
            "the library {} cannot be read: {}",
            library.display(),
            one_line(&error)
        )
    })
}

/// Binds an address. The error names the option that changes it.
pub(crate) async fn listen(address: SocketAddr, option: &str) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        format!("cannot listen on {address} ({error}): free it, or pass another {option}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_allows_the_subject_of_the_command_line_and_nobody_else() {
        let with = |key: Value, subject| {
            let text = allowing(key, subject)?;
            Some(serde_json::from_str::<Value>(&text).unwrap()["allowed_subjects"].clone())
        };
        let (ann, key) = (Some("ann@example.com"), json!({"type": "service_account"}));
        assert_eq!(with(key.clone(), ann), Some(json!(["ann@example.com"])));
        assert_eq!(with(key, None), None);
        let bob = json!({"allowed_subjects": ["bob@example.com"]});
        let both = json!(["bob@example.com", "ann@example.com"]);
        assert_eq!(with(bob, ann), Some(both.clone()));
        assert_eq!(with(json!({"allowed_subjects": both}), ann), Some(both));
        // A list that is not valid is reported when the secret is used.
        assert_eq!(with(json!({"allowed_subjects": "all"}), ann), None);
    }
}
