//! `compare`: compares a directory with its stored content. Every file and every stored object is
//! hashed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use domain::content::{ContentHash, Encoding, ObjectKey, StoredVersion};
use domain::{ConnectionKey, Field, FileId, FileRecord, TenantId, Value};
use drive_simulator::IGNORED_DIRECTORIES;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::DecimalBytes;
use local::aws::{Aws, CONTENT_BUCKET, NAME, Options};
use local::system::TENANT;
use objects::{COMPRESSIBLE_BYTES_MAX, ContentHasher, ContentRef, Objects, ObjectsError};
use store::{PageRequest, Store, Tombstones};

use crate::cli::{Arguments, Failure, one_line, say};
use crate::run::lock;

/// The number of files or objects that are read concurrently.
const CONCURRENT_FILES: usize = 4;
/// The number of concurrent reads of the table.
const CONCURRENT_READS: usize = 8;
/// The size of a read of a file.
const PIECE_BYTES: usize = 1024 * 1024;
/// The most differences that are printed.
const PRINTED_MAX: usize = 20;
/// The MIME type of a folder in Drive.
const FOLDER: &str = "application/vnd.google-apps.folder";

/// The names from the top of the library down to a file.
type FilePath = Vec<String>;

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    hash: ContentHash,
    size_bytes: u64,
}

/// A stored object according to the versions that refer to it.
#[derive(Debug, Clone)]
struct Object {
    content: Content,
    encoding: Encoding,
}

/// The result of reading all objects.
#[derive(Debug, Default)]
struct ObjectChecks {
    /// Objects whose bytes do not match their name, and missing objects.
    corrupt: Vec<String>,
    /// Compressed objects.
    compressed: usize,
    /// The bytes of their content.
    compressed_of_bytes: u64,
    /// Their bytes in the bucket.
    compressed_bytes: u64,
}

/// The contents at each path. Several files of a Drive folder can have the same name, and so can
/// names that are not Unicode after conversion.
type Tree = BTreeMap<FilePath, Vec<Content>>;

/// The stored content.
struct Stored {
    tree: Tree,
    objects: BTreeMap<ObjectKey, Object>,
    checks: ObjectChecks,
    /// Objects that no version refers to, left by killed processes.
    unreferenced: usize,
}

/// Compares, prints the counts, and returns whether everything is equal.
pub(crate) async fn compare(arguments: &Arguments) -> Result<bool, Failure> {
    let aws_dir = arguments.data_dir.join("aws");
    if !aws_dir.is_dir() {
        return Err(format!(
            "nothing is stored in {}: run `local` first, or pass another --data-dir",
            arguments.data_dir.display()
        ));
    }
    let bucket = aws_dir.join("s3").join(CONTENT_BUCKET);
    let _lock = lock(&arguments.data_dir)?;
    let aws = Aws::open(Options::directory(aws_dir)).map_err(|error| one_line(&error))?;
    say(&format!(
        "Comparing {} with what is stored in {}",
        arguments.library.display(),
        arguments.data_dir.display()
    ));
    let on_disk = on_disk(&arguments.library).await?;
    let mut stored = stored(&aws).await?;
    let object_count = count_objects(&bucket).map_err(|error| one_line(&error))?;
    stored.unreferenced = object_count.saturating_sub(stored.objects.len());
    Ok(Comparison::new(&on_disk, &stored).print(&on_disk, &stored))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    equal: usize,
    differences: Vec<String>,
}

impl Comparison {
    fn new(on_disk: &Tree, stored: &Stored) -> Self {
        let mut comparison = Self::default();
        let paths: BTreeSet<&FilePath> = on_disk.keys().chain(stored.tree.keys()).collect();
        for path in paths {
            let here = on_disk.get(path).map_or(&[][..], Vec::as_slice);
            let there = stored.tree.get(path).map_or(&[][..], Vec::as_slice);
            comparison.compare(path, here, there);
        }
        comparison
            .differences
            .extend(stored.checks.corrupt.iter().cloned());
        comparison
    }

    fn compare(&mut self, path: &FilePath, here: &[Content], there: &[Content]) {
        let mut left = there.to_vec();
        for content in here {
            let name = path.join("/");
            match left.iter().position(|other| other == content) {
                Some(equal) => {
                    left.swap_remove(equal);
                    self.equal += 1;
                }
                None if there.is_empty() => self.differences.push(format!("not stored: {name}")),
                None => self.differences.push(format!("different: {name}")),
            }
        }
        if here.len() < there.len() {
            let name = path.join("/");
            self.differences
                .push(format!("stored, but not on disk: {name}"));
        }
    }

    /// Prints the counts and returns whether everything is equal.
    fn print(&self, on_disk: &Tree, stored: &Stored) -> bool {
        let bytes = |tree: &Tree| tree.values().flatten().map(|c| c.size_bytes).sum::<u64>();
        let files = |tree: &Tree| tree.values().map(Vec::len).sum::<usize>();
        let hashes: BTreeSet<_> = stored.tree.values().flatten().map(|c| c.hash).collect();
        let stored_bytes: u64 = stored.objects.values().map(|o| o.content.size_bytes).sum();
        let checks = &stored.checks;
        let linked = files(&stored.tree).saturating_sub(stored.objects.len());
        let row =
            |name: &str, count: usize, rest: &str| say(&format!("  {name:<34}{count:>9}  {rest}"));
        row(
            "files on disk",
            files(on_disk),
            &DecimalBytes(bytes(on_disk)).to_string(),
        );
        row("of these equal to what is stored", self.equal, "");
        row("differences", self.differences.len(), "");
        row(
            "objects in the bucket",
            stored.objects.len(),
            &format!("{}, each read and hashed again", DecimalBytes(stored_bytes)),
        );
        if checks.compressed > 0 {
            let (of, to) = (checks.compressed_of_bytes, checks.compressed_bytes);
            row(
                "of these compressed",
                checks.compressed,
                &format!("{} of text in {}", DecimalBytes(of), DecimalBytes(to)),
            );
        }
        row(
            "duplicates, linked and not stored",
            linked,
            &DecimalBytes(bytes(&stored.tree).saturating_sub(stored_bytes)).to_string(),
        );
        if stored.unreferenced > 0 {
            row(
                "objects that no file names",
                stored.unreferenced,
                "left of a process that was killed",
            );
        }
        for difference in self.differences.iter().take(PRINTED_MAX) {
            say(&format!("  {difference}"));
        }
        let once = hashes.len() == stored.objects.len();
        if !once {
            say("  identical content is stored more than once");
        }
        let equal = self.differences.is_empty() && once;
        say(if equal {
            "Equal: every file's bytes are stored, and identical content is stored once."
        } else {
            "Not equal."
        });
        equal
    }
}

/// Returns every file of the directory that the simulated Drive loads, with its hash.
async fn on_disk(library: &Path) -> Result<Tree, Failure> {
    let top = library.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        collect(&top, &FilePath::new(), &mut found).map(|()| found)
    });
    let found = found
        .await
        .map_err(|error| one_line(&error))?
        .map_err(|error| format!("{} cannot be read: {error}", library.display()))?;
    let hashed = stream::iter(found).map(|(path, file)| async move {
        let name = file.display().to_string();
        let hashed = tokio::task::spawn_blocking(move || hash_file(&file)).await;
        let content = hashed
            .map_err(|error| one_line(&error))?
            .map_err(|error| format!("{name} cannot be read: {error}"))?;
        Ok::<_, Failure>((path, content))
    });
    let mut hashed = hashed.buffer_unordered(CONCURRENT_FILES);
    let mut tree = Tree::new();
    while let Some((path, content)) = hashed.try_next().await? {
        tree.entry(path).or_default().push(content);
    }
    Ok(tree)
}

/// Collects the files below a directory, without those that the simulated Drive skips: symbolic
/// links, special files, files that cannot be opened, and the folders of tools.
fn collect(dir: &Path, path: &FilePath, found: &mut Vec<(FilePath, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut below = path.clone();
        below.push(name.clone());
        if metadata.is_dir() && !IGNORED_DIRECTORIES.contains(&name.as_str()) {
            collect(&entry.path(), &below, found)?;
        } else if metadata.is_file() && fs::File::open(entry.path()).is_ok() {
            found.push((below, entry.path()));
        }
    }
    Ok(())
}

fn hash_file(path: &Path) -> io::Result<Content> {
    let mut file = fs::File::open(path)?;
    let mut hasher = ContentHasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        hasher.update(piece.get(..read).unwrap_or_default());
    }
    Ok(content_of(hasher))
}

fn content_of(hasher: ContentHasher) -> Content {
    let digest = hasher.finish();
    Content {
        hash: digest.sha256,
        size_bytes: digest.size_bytes,
    }
}

async fn stored(aws: &Aws) -> Result<Stored, Failure> {
    let store = Store::new(aws.dynamodb_client(), NAME);
    let tenant = TenantId::parse(TENANT).map_err(|error| one_line(&error))?;
    let mut named = BTreeMap::new();
    let mut tree = Tree::new();
    for key in connections(&store, tenant).await? {
        for (path, version) in latest(&store, &key).await? {
            let content = Content {
                hash: version.hash,
                size_bytes: version.size_bytes,
            };
            let object = Object {
                content: content.clone(),
                encoding: version.encoding,
            };
            named.insert(version.object, object);
            tree.entry(path).or_default().push(content);
        }
    }
    let checks = check_objects(aws, &named).await;
    Ok(Stored {
        tree,
        unreferenced: 0,
        objects: named,
        checks,
    })
}

async fn connections(store: &Store, tenant: TenantId) -> Result<Vec<ConnectionKey>, Failure> {
    let first = PageRequest::first(PageRequest::LIMIT_MAX);
    let listed = store.list_connections(&tenant, &first, |_| true).await;
    let listed = listed.map_err(|error| one_line(&error))?;
    Ok(listed
        .items
        .into_iter()
        .map(|connection| connection.key)
        .collect())
}

/// Returns the latest stored version of each file that has one, by its path.
async fn latest(
    store: &Store,
    key: &ConnectionKey,
) -> Result<Vec<(FilePath, StoredVersion)>, Failure> {
    let mut records = BTreeMap::new();
    let mut page = PageRequest::first(PageRequest::LIMIT_MAX);
    loop {
        let files = store.list_files(key, None, Tombstones::Skip, &page).await;
        let files = files.map_err(|error| one_line(&error))?;
        records.extend(files.items.into_iter().map(|r| (r.file.clone(), r)));
        page.cursor = match files.next_cursor {
            Some(next) => Some(next),
            None => break,
        };
    }
    let plain = records.values().filter(|r| r.metadata.mime_type != FOLDER);
    let versions = stream::iter(plain).map(|record| async {
        let newest = PageRequest::first(1);
        let versions = store.list_versions(key, &record.file, &newest).await;
        let versions = versions.map_err(|error| one_line(&error))?;
        let version = versions.items.into_iter().next();
        Ok::<_, Failure>(version.map(|version| (path_of(record, &records), version)))
    });
    let versions: Vec<_> = versions.buffered(CONCURRENT_READS).try_collect().await?;
    Ok(versions.into_iter().flatten().collect())
}

/// Returns the path of a file. The root of My Drive is not a listed file.
fn path_of(record: &FileRecord, records: &BTreeMap<FileId, FileRecord>) -> FilePath {
    let mut path = FilePath::new();
    let mut next = Some(record);
    while let Some(record) = next {
        if let Value::Text(name) = record.app(&Field::Name) {
            path.push(name);
        }
        let parent = match record.app(&Field::Parent) {
            Value::Text(parent) => FileId::parse(&parent).ok(),
            Value::Null | Value::Flag(_) => None,
        };
        // The bound on the length ends the loop in a cycle of folders.
        next = parent
            .and_then(|parent| records.get(&parent))
            .filter(|_| path.len() <= records.len());
    }
    path.reverse();
    path
}

/// Reads and hashes every referenced object.
async fn check_objects(aws: &Aws, named: &BTreeMap<ObjectKey, Object>) -> ObjectChecks {
    let objects = Objects::new(aws.s3_client(), CONTENT_BUCKET);
    let read = stream::iter(named).map(|(key, object)| {
        let objects = objects.clone();
        async move { (key, object, read_object(&objects, key, object).await) }
    });
    let mut read = read.buffered(CONCURRENT_FILES);
    let mut checks = ObjectChecks::default();
    while let Some((key, object, read)) = read.next().await {
        let wrong = match read {
            Ok(Some((content, stored_bytes))) if content == object.content => {
                checks.count(object, stored_bytes);
                continue;
            }
            Ok(Some(_)) => "the bytes do not match the name".to_owned(),
            Ok(None) => "the object is missing".to_owned(),
            Err(error) => one_line(&error),
        };
        checks.corrupt.push(format!("{wrong}: {}", key.as_str()));
    }
    checks
}

impl ObjectChecks {
    fn count(&mut self, object: &Object, stored_bytes: u64) {
        match object.encoding {
            Encoding::None => {}
            Encoding::Zstd => {
                self.compressed += 1;
                self.compressed_of_bytes += object.content.size_bytes;
                self.compressed_bytes += stored_bytes;
            }
        }
    }
}

/// Returns the content of an object and its size in the bucket. Only a compressed object is
/// buffered.
async fn read_object(
    objects: &Objects,
    key: &ObjectKey,
    object: &Object,
) -> Result<Option<(Content, u64)>, ObjectsError> {
    let mut hasher = ContentHasher::new();
    let stored_bytes = match object.encoding {
        Encoding::None => {
            let Some(mut body) = objects.get(key, None).await? else {
                return Ok(None);
            };
            while let Some(chunk) = body.next().await? {
                hasher.update(&chunk);
            }
            body.size_bytes()
        }
        Encoding::Zstd => {
            let named = ContentRef {
                key,
                encoding: object.encoding,
                size_bytes: object.content.size_bytes,
                hash: &object.content.hash,
            };
            let Some(content) = objects.read_content(named, COMPRESSIBLE_BYTES_MAX).await? else {
                return Ok(None);
            };
            hasher.update(&content);
            let facts = objects.head(key).await?;
            facts.map_or(0, |facts| facts.size_bytes)
        }
    };
    Ok(Some((content_of(hasher), stored_bytes)))
}

/// Returns the number of objects in the bucket's folder, referenced or not.
fn count_objects(dir: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        count += if entry.metadata()?.is_dir() {
            count_objects(&entry.path())?
        } else {
            1
        };
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> Content {
        let mut hasher = ContentHasher::new();
        hasher.update(text.as_bytes());
        content_of(hasher)
    }

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (name, text) in files {
            let path = vec![(*name).to_owned()];
            tree.entry(path).or_default().push(content(text));
        }
        tree
    }

    fn compared(on_disk: &[(&str, &str)], stored: &[(&str, &str)]) -> Comparison {
        let stored = Stored {
            tree: tree(stored),
            objects: BTreeMap::new(),
            checks: ObjectChecks::default(),
            unreferenced: 0,
        };
        Comparison::new(&tree(on_disk), &stored)
    }

    #[test]
    fn differences_are_listed_by_path() {
        let here = [("a", "1"), ("b", "2"), ("c", "3")];
        let there = [("a", "1"), ("b", "x"), ("d", "4")];
        let comparison = compared(&here, &there);
        assert_eq!(comparison.equal, 1);
        assert_eq!(
            comparison.differences,
            [
                "different: b",
                "not stored: c",
                "stored, but not on disk: d"
            ]
        );
    }

    #[test]
    fn files_of_the_same_name_are_compared_in_any_order() {
        let comparison = compared(&[("a", "1"), ("a", "2")], &[("a", "2"), ("a", "1")]);
        assert_eq!((comparison.equal, comparison.differences.len()), (2, 0));
    }
}
