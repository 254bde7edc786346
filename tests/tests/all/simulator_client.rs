//! The simulator against an independent client: the generated `google-drive3`, whose types accept
//! only what Google's discovery document defines (64-bit numbers as strings, for one).

use drive_simulator::Simulator;
use google_drive3::DriveHub;
use google_drive3::api::{Channel, Drive, File, FileShortcutDetails, Permission, Scope};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::support::{run, serve};

async fn hub(simulator: &Simulator) -> DriveHub<HttpConnector> {
    let url = serve(simulator).await;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .build(HttpConnector::new());
    let mut hub = DriveHub::new(client, "user:owner".to_owned());
    hub.base_url(format!("{url}/drive/v3/"));
    hub.root_url(format!("{url}/"));
    hub
}

fn library() -> Simulator {
    let simulator = Simulator::new(drive_simulator::Options {
        seed: Some(1),
        ..drive_simulator::Options::default()
    });
    simulator.load_synthetic(30, 4);
    simulator
}

#[test]
fn files_are_listed_read_created_changed_and_deleted() {
    run(async {
        let hub = hub(&library()).await;
        let mut found = 0;
        let mut token: Option<String> = None;
        loop {
            let mut list = hub
                .files()
                .list()
                .page_size(7)
                .param("fields", "*")
                .add_scope(Scope::Full);
            if let Some(token) = &token {
                list = list.page_token(token);
            }
            let (_, page) = list.doit().await.unwrap();
            found += page.files.unwrap().len();
            token = page.next_page_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(found, 34);

        let request = File {
            name: Some("notes.txt".to_owned()),
            mime_type: Some("text/plain".to_owned()),
            properties: Some([("stage".to_owned(), "draft".to_owned())].into()),
            ..File::default()
        };
        let content = std::io::Cursor::new(b"four".to_vec());
        let upload = hub
            .files()
            .create(request)
            .param("fields", "*")
            .add_scope(Scope::Full);
        let (_, made) = upload
            .upload(content, "text/plain".parse().unwrap())
            .await
            .unwrap();
        assert_eq!(made.size, Some(4));
        assert!(made.version.unwrap() > 0);
        let id = made.id.unwrap();

        let get = hub
            .files()
            .get(&id)
            .param("fields", "*")
            .add_scope(Scope::Full);
        let (_, read) = get.doit().await.unwrap();
        assert_eq!(read.name.as_deref(), Some("notes.txt"));
        assert_eq!(read.owned_by_me, Some(true));
        assert_eq!(read.capabilities.unwrap().can_edit, Some(true));
        assert!(read.modified_time.is_some() && read.created_time.is_some());

        let change = File {
            name: Some("minutes.txt".to_owned()),
            starred: Some(true),
            ..File::default()
        };
        let update = hub
            .files()
            .update(change, &id)
            .param("fields", "*")
            .add_scope(Scope::Full);
        let (_, changed) = update.doit_without_upload().await.unwrap();
        assert_eq!(
            (changed.name.as_deref(), changed.starred),
            (Some("minutes.txt"), Some(true))
        );
        hub.files()
            .delete(&id)
            .add_scope(Scope::Full)
            .doit()
            .await
            .unwrap();
        assert!(
            hub.files()
                .get(&id)
                .add_scope(Scope::Full)
                .doit()
                .await
                .is_err()
        );
    });
}

#[test]
fn changes_are_followed_and_watched() {
    run(async {
        let simulator = library();
        let hub = hub(&simulator).await;
        let (_, start) = hub
            .changes()
            .get_start_page_token()
            .add_scope(Scope::Full)
            .doit()
            .await
            .unwrap();
        let start = start.start_page_token.unwrap();
        let file = simulator.random_files("owner", 1).pop().unwrap();
        simulator
            .apply(
                "alice",
                &file,
                drive_simulator::Edit::Rename("changed.txt".to_owned()),
            )
            .unwrap();
        let list = hub
            .changes()
            .list(&start)
            .param("fields", "*")
            .add_scope(Scope::Full);
        let (_, page) = list.doit().await.unwrap();
        let changes = page.changes.unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].file_id.as_deref(), Some(file.as_str()));
        assert_eq!(changes[0].removed, Some(false));
        assert_eq!(
            changes[0].file.as_ref().unwrap().name.as_deref(),
            Some("changed.txt")
        );
        let end = page.new_start_page_token.unwrap();

        let request = Channel {
            id: Some("a-channel".to_owned()),
            type_: Some("web_hook".to_owned()),
            address: Some("http://127.0.0.1:9/hook".to_owned()),
            token: Some("a token".to_owned()),
            ..Channel::default()
        };
        let watch = hub.changes().watch(request, &end).add_scope(Scope::Full);
        let (_, channel) = watch.doit().await.unwrap();
        assert_eq!(channel.id.as_deref(), Some("a-channel"));
        assert!(channel.resource_id.is_some() && channel.expiration.unwrap() > 0);
        hub.channels()
            .stop(channel)
            .add_scope(Scope::Full)
            .doit()
            .await
            .unwrap();
    });
}

#[test]
fn about_and_drives_and_generated_ids_are_as_documented() {
    run(async {
        let simulator = library();
        let drive = simulator.create_drive("Team", &[("owner", drive_simulator::Role::Organizer)]);
        let hub = hub(&simulator).await;
        let (_, about) = hub
            .about()
            .get()
            .param("fields", "*")
            .add_scope(Scope::Full)
            .doit()
            .await
            .unwrap();
        assert!(
            about
                .user
                .unwrap()
                .email_address
                .unwrap()
                .starts_with("owner")
        );
        let (_, drives) = hub
            .drives()
            .list()
            .param("fields", "*")
            .add_scope(Scope::Full)
            .doit()
            .await
            .unwrap();
        assert_eq!(
            drives.drives.unwrap()[0].id.as_deref(),
            Some(drive.as_str())
        );
        let (_, ids) = hub
            .files()
            .generate_ids()
            .count(3)
            .add_scope(Scope::Full)
            .doit()
            .await
            .unwrap();
        assert_eq!(ids.ids.unwrap().len(), 3);
    });
}

#[test]
fn drives_permissions_and_shortcuts_are_created_as_documented() {
    run(async {
        let hub = hub(&library()).await;
        let request = Drive {
            name: Some("Team".to_owned()),
            ..Drive::default()
        };
        let make = hub.drives().create(request, "a-request");
        let (_, drive) = make.add_scope(Scope::Full).doit().await.unwrap();
        let drive = drive.id.unwrap();
        let permission = Permission {
            type_: Some("user".to_owned()),
            role: Some("writer".to_owned()),
            email_address: Some("bob@example.com".to_owned()),
            ..Permission::default()
        };
        let share = hub.permissions().create(permission, &drive);
        let share = share.supports_all_drives(true).param("fields", "*");
        let (_, made) = share.add_scope(Scope::Full).doit().await.unwrap();
        assert_eq!(made.role.as_deref(), Some("writer"));
        let details = made.permission_details.unwrap();
        assert_eq!(details[0].permission_type.as_deref(), Some("member"));

        let request = File {
            name: Some("a shortcut".to_owned()),
            parents: Some(vec![drive.clone()]),
            mime_type: Some("application/vnd.google-apps.shortcut".to_owned()),
            shortcut_details: Some(FileShortcutDetails {
                target_id: Some(drive.clone()),
                ..FileShortcutDetails::default()
            }),
            ..File::default()
        };
        let content = std::io::Cursor::new(Vec::new());
        let create = hub.files().create(request).supports_all_drives(true);
        let create = create.param("fields", "*").add_scope(Scope::Full);
        let created = create.upload(content, "text/plain".parse().unwrap()).await;
        assert!(created.is_err(), "a shortcut has no content");

        let unshare = hub
            .permissions()
            .delete(&drive, made.id.as_deref().unwrap());
        let unshare = unshare.supports_all_drives(true).add_scope(Scope::Full);
        unshare.doit().await.unwrap();
        let delete = hub.drives().delete(&drive).add_scope(Scope::Full);
        delete.doit().await.unwrap();
        let (_, left) = hub
            .drives()
            .list()
            .add_scope(Scope::Full)
            .doit()
            .await
            .unwrap();
        assert!(left.drives.unwrap().is_empty());
    });
}
