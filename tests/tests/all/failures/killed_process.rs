//! A process that is stopped at any point continues from its data on disk: nothing is lost, and no
//! conflict appears.

use std::path::Path;

use drive_simulator::{Edit, Simulator};
use serde_json::json;
use tokio::process::Child;

use crate::support::{Folder, Outside, World, eventually, run, serve, start_local};

/// Starts a Drive with a library, which outlives the system.
async fn drive(files: usize) -> (Simulator, String) {
    let simulator = Simulator::new(drive_simulator::Options::default());
    simulator.load_synthetic(files, 6);
    let url = serve(&simulator).await;
    (simulator, url)
}

/// Renames the even files in Drive.
fn renamed(simulator: &Simulator, files: &[String], round: usize) {
    for file in files.iter().step_by(2) {
        simulator
            .apply("alice", file, Edit::Rename(format!("people {round}.txt")))
            .unwrap();
    }
}

#[test]
fn a_system_stopped_during_a_burst_continues_from_its_directory() {
    let folder = Folder::new();
    let (simulator, drive_url) = run(drive(60));
    let files = simulator
        .random_files("owner", 0)
        .into_iter()
        .chain(simulator.file_ids())
        .collect::<Vec<_>>();
    for round in 0..3 {
        // A separate runtime, so that the whole system ends with it at any point.
        let doomed = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let world = doomed.block_on(async {
            let world = World::beside(
                simulator.clone(),
                &drive_url,
                Some(folder.path().to_owned()),
                true,
            )
            .await;
            eventually("a first record", async || {
                (!world.files().await.is_empty()).then_some(())
            })
            .await;
            if round > 0 {
                // Half of the files are edited at the API, the other half in Drive, and the system
                // is stopped meanwhile.
                renamed(&simulator, &files, round);
                for file in files.iter().skip(1).step_by(2) {
                    if world.find(file).await.is_some() {
                        world
                            .edit_ok(file, json!({"name": format!("ours {round}.txt")}))
                            .await;
                    }
                }
            }
            world
        });
        doomed.shutdown_timeout(std::time::Duration::from_secs(10));
        drop(world);
    }
    run(async {
        let world = World::beside(
            simulator.clone(),
            &drive_url,
            Some(folder.path().to_owned()),
            true,
        )
        .await;
        world.converge().await;
        for (number, file) in files.iter().enumerate() {
            let name = simulator.file(file).unwrap().name;
            if number % 2 == 0 {
                assert_eq!(name, "people 2.txt", "{file}");
            } else {
                assert!(
                    name.starts_with("ours ")
                        || name.starts_with("file-")
                        || name.starts_with("Folder"),
                    "{name}"
                );
            }
        }
        assert_eq!(world.get("/conflicts?status=all").await["items"], json!([]));
        let operations = world.get("/operations").await;
        assert_eq!(
            operations["items"].as_array().unwrap().len(),
            1,
            "the first sync was not begun again"
        );
        world.system.stop().await;
    });
}

/// `local` in its own process.
struct Local {
    process: Child,
    outside: Outside,
}

impl Local {
    async fn start(simulator: &Simulator, drive_url: &str, data_dir: &Path) -> Self {
        let arguments = ["--no-content", "--drive-url", drive_url];
        let (process, ready) = start_local(&arguments, data_dir).await;
        let text = |member: &str| ready[member].as_str().unwrap().to_owned();
        let (api, token, connection) = (text("api"), text("token"), text("connection"));
        let outside = Outside::new(simulator.clone(), drive_url, &api, &token, &connection);
        Self { process, outside }
    }
}

#[test]
fn a_process_killed_twice_during_edits_on_both_sides_loses_nothing() {
    run(async {
        let folder = Folder::new();
        let (simulator, drive_url) = drive(80).await;
        let files = simulator.file_ids();
        let mut wanted: Vec<Option<String>> = vec![None; files.len()];
        for round in 0..3 {
            let mut local = Local::start(&simulator, &drive_url, folder.path()).await;
            let outside = &local.outside;
            eventually("the first sync", async || {
                (outside.files().await.len() == files.len()).then_some(())
            })
            .await;
            renamed(&simulator, &files, round);
            for (number, file) in files.iter().enumerate().skip(1).step_by(2) {
                let name = format!("ours {round}.txt");
                outside.edit_ok(file, json!({ "name": name })).await;
                // The edit has been accepted, so it must not be lost.
                wanted[number] = Some(name);
            }
            // kill -9
            local.process.start_kill().unwrap();
            local.process.wait().await.unwrap();
        }
        let mut local = Local::start(&simulator, &drive_url, folder.path()).await;
        let outside = &local.outside;
        let mut differences = Vec::new();
        eventually("both sides are equal", async || {
            differences = outside.differences().await;
            differences.is_empty().then_some(())
        })
        .await;
        for (file, wanted) in files.iter().zip(&wanted) {
            let name = simulator.file(file).unwrap().name;
            assert_eq!(
                name,
                wanted.clone().unwrap_or_else(|| "people 2.txt".to_owned())
            );
        }
        assert_eq!(
            outside.get("/conflicts?status=all").await["items"],
            json!([]),
            "nothing was applied twice"
        );
        local.process.start_kill().unwrap();
        local.process.wait().await.unwrap();
    });
}
