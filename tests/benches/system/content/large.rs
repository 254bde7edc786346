//! Large files, compared with a plain copy of the same bytes: at the speed of this machine, and
//! over a slower network.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::response::Response;
use domain::StorageClass;
use domain::content::ObjectKey;
use drive_simulator::{Options, Simulator};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use local::aws::CONTENT_BUCKET;
use objects::{Objects, Part};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::{make, stored};
use crate::report::{Report, Target, count};
use crate::rig::{Folder, Rig, credentials, serve};

/// Files, and the bytes of each.
const FILES: (u64, u64) = (4, 1024 * 1024 * 1024);
/// The same for the slower network.
const FILES_OVER_NETWORK: (u64, u64) = (4, 256 * 1024 * 1024);
/// The bytes per second that the network allows each response of Drive.
const NETWORK_BYTES_PER_SECOND: f64 = 30e6;
/// The usual part of an upload.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// The bytes that the network sends at a time.
const PIECE_BYTES: usize = 64 * 1024;

pub async fn measure(report: &mut Report) {
    let (files, bytes) = FILES;
    report.part(&format!(
        "Content: {files} files of {} MB each, from the creation of the connection until all is \
            stored",
        bytes / 1_000_000
    ));
    compare(report, FILES, None).await;
    report.note(
        "plain copy: the mean of one before and one after; it hashes nothing, and writes \
        each byte once",
    );
    report.note(
        "the embedded S3 hashes each byte and writes it twice, on the cores that the mirror has",
    );
    let (files, bytes) = FILES_OVER_NETWORK;
    report.part(&format!(
        "Content: {files} files of {} MB each, where the network gives each answer of Drive {} \
            MB/s",
        bytes / 1_000_000,
        NETWORK_BYTES_PER_SECOND / 1e6
    ));
    compare(report, FILES_OVER_NETWORK, Some(NETWORK_BYTES_PER_SECOND)).await;
}

async fn compare(report: &mut Report, (files, bytes): (u64, u64), bytes_per_second: Option<f64>) {
    let megabytes = count(files * bytes) / 1e6;
    let simulator = Simulator::new(Options::default());
    let ids: Vec<String> = (0..files).map(|n| make(&simulator, n, bytes)).collect();
    let drive_url = match bytes_per_second {
        Some(bytes_per_second) => serve_at(&simulator, bytes_per_second).await,
        None => serve(&simulator).await,
    };
    checksums(&drive_url, &ids).await;
    let before = plain_copy(&drive_url, &ids, Folder::new().path()).await;
    let (system, folder) = Rig::start(drive_url.clone()).await;
    let began = Instant::now();
    let owner = credentials(&drive_url);
    let key = system.connect_with(&owner, None, true).await.unwrap();
    let rig = Rig::new(simulator, system, key, folder);
    stored(&rig, &ids).await;
    let mirrored = megabytes / began.elapsed().as_secs_f64();
    let bucket = megabytes / bucket_alone(&rig, (files, bytes)).await;
    rig.stop().await;
    let after = plain_copy(&drive_url, &ids, Folder::new().path()).await;
    let copied = megabytes / f64::midpoint(before, after);
    report.line("mirrored: hashed, put in parts, verified", mirrored, "MB/s");
    report.line(
        "plain copy over HTTP to disk, all files at once",
        copied,
        "MB/s",
    );
    report.line(
        "the embedded S3 alone, as many bytes out of memory",
        bucket,
        "MB/s",
    );
    report.against(
        "mirrored, of the plain copy",
        100.0 * mirrored / copied,
        "%",
        Target::AtLeast(60.0),
    );
}

/// Writes as many bytes into the bucket, in parts and as many objects at once, and returns the
/// seconds that it took: a mirror without Drive, the network and the hash of the whole.
async fn bucket_alone(rig: &Rig, (files, bytes): (u64, u64)) -> f64 {
    let objects = Objects::new(rig.system.aws.s3_client(), CONTENT_BUCKET);
    let part = Bytes::from(vec![7; PART_BYTES]);
    let began = Instant::now();
    let puts = (0..files).map(|number| {
        let (objects, part) = (objects.clone(), part.clone());
        let key = ObjectKey::staging(&rig.key.tenant, 1, number);
        tokio::spawn(async move {
            let class = StorageClass::Standard;
            let upload = objects.create_upload(&key, class).await.unwrap();
            let count = u32::try_from(bytes / PART_BYTES as u64).unwrap();
            let parts =
                (1..=count).map(|number| objects.upload_part(&key, &upload, number, part.clone()));
            let parts: Vec<Part> = stream::iter(parts).buffered(2).try_collect().await.unwrap();
            objects
                .complete_upload(&key, &upload, &parts)
                .await
                .unwrap();
        })
    });
    futures_util::future::try_join_all(puts).await.unwrap();
    began.elapsed().as_secs_f64()
}

/// Serves a simulated Drive behind a network that sends each response at this many bytes per
/// second.
async fn serve_at(simulator: &Simulator, bytes_per_second: f64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let paced =
        move |answer: Response| async move { answer.map(|body| slowed(body, bytes_per_second)) };
    let router = simulator
        .router()
        .layer(axum::middleware::map_response(paced));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn slowed(body: Body, bytes_per_second: f64) -> Body {
    let pieces = body.into_data_stream().map_ok(|piece| {
        let starts = (0..piece.len()).step_by(PIECE_BYTES);
        let pieces: Vec<Bytes> = starts
            .map(|start| piece.slice(start..piece.len().min(start + PIECE_BYTES)))
            .collect();
        stream::iter(pieces.into_iter().map(Ok::<_, axum::Error>))
    });
    let began = Instant::now();
    let mut sent = 0;
    Body::from_stream(pieces.try_flatten().then(move |piece| {
        let due = began + Duration::from_secs_f64(count(sent) / bytes_per_second);
        sent += piece.as_ref().map_or(0, |piece: &Bytes| piece.len() as u64);
        async move {
            tokio::time::sleep_until(due.into()).await;
            piece
        }
    }))
}

/// Reads the checksums from Drive once: the real Drive computes them beforehand.
async fn checksums(drive_url: &str, ids: &[String]) {
    let http = reqwest::Client::new();
    for id in ids {
        let url = format!("{drive_url}/drive/v3/files/{id}?fields=sha256Checksum,md5Checksum");
        let answer = http.get(url).bearer_auth(bearer()).send().await.unwrap();
        let file: Value = answer.json().await.unwrap();
        assert!(file["sha256Checksum"].is_string(), "{file}");
    }
}

fn bearer() -> String {
    format!("user:{}", Simulator::library_owner())
}

/// Copies the files over HTTP to disk, all at once, and returns the seconds that it took.
async fn plain_copy(drive_url: &str, ids: &[String], folder: &Path) -> f64 {
    let http = reqwest::Client::new();
    let began = Instant::now();
    let copies = ids.iter().map(|id| {
        let url = format!("{drive_url}/drive/v3/files/{id}?alt=media");
        let (request, path) = (http.get(url).bearer_auth(bearer()), folder.join(id));
        tokio::spawn(async move {
            let mut answer = request.send().await.unwrap().error_for_status().unwrap();
            let file = tokio::fs::File::create(path).await.unwrap();
            let mut file = tokio::io::BufWriter::with_capacity(1024 * 1024, file);
            while let Some(chunk) = answer.chunk().await.unwrap() {
                file.write_all(&chunk).await.unwrap();
            }
            file.flush().await.unwrap();
        })
    });
    futures_util::future::try_join_all(copies).await.unwrap();
    began.elapsed().as_secs_f64()
}
