//! Compares a directory with what is stored of its content: every file is hashed, and every stored object is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use domain::content::{ContentHash, Encoding, ObjectKey, StoredVersion};
use domain::{ConnectionKey, Field, FileId, FileRecord, TenantId, Value};
use drive_simulator::LEFT_OUT;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::DecimalBytes;
use local::aws::{Aws, CONTENT_BUCKET, NAME, Options};
use local::system::TENANT;
use objects::{COMPRESSED_OF_BYTES_MAX, ContentHasher, Named, Objects, ObjectsError};
use store::{PageRequest, Store, Tombstones};

use crate::cli::{Arguments, Failure, one_line};
use crate::run::lock;

/// Files and objects that are read at a time.
const READ_AT_ONCE: usize = 4;
/// Questions to the table at a time.
const ASK_AT_ONCE: usize = 8;
/// What is read of a file at a time.
const PIECE_BYTES: usize = 1024 * 1024;
/// Differences that are told one by one.
const TOLD_MAX: usize = 20;
/// Drive's type of a folder.
const FOLDER: &str = "application/vnd.google-apps.folder";

/// Names from the top of the library down.
type Place = Vec<String>;

/// One content at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    hash: ContentHash,
    size_bytes: u64,
}

/// One stored object, as the versions say that name it.
#[derive(Debug, Clone)]
struct Object {
    content: Content,
    encoding: Encoding,
}

/// What reading the objects has shown.
#[derive(Debug, Default)]
struct Readings {
    /// Objects whose bytes are others than their name says, or that are not there.
    spoilt: Vec<String>,
    /// Objects that are compressed, the bytes of their content, and those that they take in the bucket.
    compressed: usize,
    compressed_of_bytes: u64,
    compressed_bytes: u64,
}

/// What lies at each place. Drive lets several files of one folder bear one name; so may names that are not Unicode look.
type Tree = BTreeMap<Place, Vec<Content>>;

/// What is stored.
struct Stored {
    tree: Tree,
    objects: BTreeMap<ObjectKey, Object>,
    readings: Readings,
    /// Objects that no file names: what a process that was killed had put down.
    unnamed: usize,
}

/// Compares, prints what was counted, and says whether all is equal.
pub(crate) async fn compare(arguments: &Arguments) -> Result<bool, Failure> {
    let aws_dir = arguments.data_dir.join("aws");
    if !aws_dir.is_dir() {
        return Err(format!(
            "nothing is stored in {}: run `local` first, or give another --data-dir",
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
    let there = count_objects(&bucket).map_err(|error| one_line(&error))?;
    stored.unnamed = there.saturating_sub(stored.objects.len());
    Ok(Comparison::of(&on_disk, &stored).tell(&on_disk, &stored))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    equal: usize,
    differences: Vec<String>,
}

impl Comparison {
    fn of(on_disk: &Tree, stored: &Stored) -> Self {
        let mut comparison = Self::default();
        let places: BTreeSet<&Place> = on_disk.keys().chain(stored.tree.keys()).collect();
        for place in places {
            let here = on_disk.get(place).map_or(&[][..], Vec::as_slice);
            let there = stored.tree.get(place).map_or(&[][..], Vec::as_slice);
            comparison.place(place, here, there);
        }
        comparison
            .differences
            .extend(stored.readings.spoilt.iter().cloned());
        comparison
    }

    fn place(&mut self, place: &Place, here: &[Content], there: &[Content]) {
        let mut left = there.to_vec();
        for content in here {
            let name = place.join("/");
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
            let name = place.join("/");
            self.differences
                .push(format!("stored, but not on disk: {name}"));
        }
    }

    /// Prints the counts, and says whether nothing differs.
    fn tell(&self, on_disk: &Tree, stored: &Stored) -> bool {
        let bytes = |tree: &Tree| tree.values().flatten().map(|c| c.size_bytes).sum::<u64>();
        let files = |tree: &Tree| tree.values().map(Vec::len).sum::<usize>();
        let hashes: BTreeSet<_> = stored.tree.values().flatten().map(|c| c.hash).collect();
        let held: u64 = stored.objects.values().map(|o| o.content.size_bytes).sum();
        let readings = &stored.readings;
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
            &format!("{}, each read and hashed again", DecimalBytes(held)),
        );
        if readings.compressed > 0 {
            let (of, to) = (readings.compressed_of_bytes, readings.compressed_bytes);
            row(
                "of these compressed",
                readings.compressed,
                &format!("{} of text in {}", DecimalBytes(of), DecimalBytes(to)),
            );
        }
        row(
            "duplicates, linked and not stored",
            linked,
            &DecimalBytes(bytes(&stored.tree).saturating_sub(held)).to_string(),
        );
        if stored.unnamed > 0 {
            row(
                "objects that no file names",
                stored.unnamed,
                "left of a process that was killed",
            );
        }
        for difference in self.differences.iter().take(TOLD_MAX) {
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

/// Every file of the directory that the simulated Drive loads, with its hash.
async fn on_disk(library: &Path) -> Result<Tree, Failure> {
    let top = library.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        collect(&top, &Place::new(), &mut found).map(|()| found)
    });
    let found = found
        .await
        .map_err(|error| one_line(&error))?
        .map_err(|error| format!("{} can't be read: {error}", library.display()))?;
    let hashed = stream::iter(found).map(|(place, path)| async move {
        let name = path.display().to_string();
        let hashed = tokio::task::spawn_blocking(move || hash_file(&path)).await;
        let content = hashed
            .map_err(|error| one_line(&error))?
            .map_err(|error| format!("{name} can't be read: {error}"))?;
        Ok::<_, Failure>((place, content))
    });
    let mut hashed = hashed.buffer_unordered(READ_AT_ONCE);
    let mut tree = Tree::new();
    while let Some((place, content)) = hashed.try_next().await? {
        tree.entry(place).or_default().push(content);
    }
    Ok(tree)
}

/// The files below a directory, without what the simulated Drive leaves out: symbolic links, special files, what can't be
/// opened, and the folders that tools keep for themselves.
fn collect(dir: &Path, place: &Place, found: &mut Vec<(Place, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut below = place.clone();
        below.push(name.clone());
        if metadata.is_dir() && !LEFT_OUT.contains(&name.as_str()) {
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
        for (place, version) in latest(&store, &key).await? {
            let content = Content {
                hash: version.hash,
                size_bytes: version.size_bytes,
            };
            let object = Object {
                content: content.clone(),
                encoding: version.encoding,
            };
            named.insert(version.object, object);
            tree.entry(place).or_default().push(content);
        }
    }
    let readings = readings(aws, &named).await;
    Ok(Stored {
        tree,
        unnamed: 0,
        objects: named,
        readings,
    })
}

async fn connections(store: &Store, tenant: TenantId) -> Result<Vec<ConnectionKey>, Failure> {
    let first = PageRequest::first(PageRequest::LIMIT_MAX);
    let listed = store.list_connections(&tenant, &first).await;
    let listed = listed.map_err(|error| one_line(&error))?;
    Ok(listed
        .items
        .into_iter()
        .map(|connection| connection.key)
        .collect())
}

/// The latest stored version of each file that has one, by its place.
async fn latest(
    store: &Store,
    key: &ConnectionKey,
) -> Result<Vec<(Place, StoredVersion)>, Failure> {
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
    let plain = records.values().filter(|r| r.mirror.mime_type != FOLDER);
    let asked = stream::iter(plain).map(|record| async {
        let newest = PageRequest::first(1);
        let versions = store.list_versions(key, &record.file, &newest).await;
        let versions = versions.map_err(|error| one_line(&error))?;
        let version = versions.items.into_iter().next();
        Ok::<_, Failure>(version.map(|version| (place_of(record, &records), version)))
    });
    let asked: Vec<_> = asked.buffered(ASK_AT_ONCE).try_collect().await?;
    Ok(asked.into_iter().flatten().collect())
}

/// The names from the top down. The root of My Drive is in no list of files.
fn place_of(record: &FileRecord, records: &BTreeMap<FileId, FileRecord>) -> Place {
    let mut place = Place::new();
    let mut next = Some(record);
    while let Some(record) = next {
        if let Value::Text(name) = record.app(&Field::Name) {
            place.push(name);
        }
        let parent = match record.app(&Field::Parent) {
            Value::Text(parent) => FileId::parse(&parent).ok(),
            Value::Null | Value::Flag(_) => None,
        };
        // A folder in a ring of folders would be looked up for ever.
        next = parent
            .and_then(|parent| records.get(&parent))
            .filter(|_| place.len() <= records.len());
    }
    place.reverse();
    place
}

/// Reads and hashes every object that is named: those that are not what their versions say, and what is compressed.
async fn readings(aws: &Aws, named: &BTreeMap<ObjectKey, Object>) -> Readings {
    let objects = Objects::new(aws.s3_client(), CONTENT_BUCKET);
    let read = stream::iter(named).map(|(key, object)| {
        let objects = objects.clone();
        async move { (key, object, read_object(&objects, key, object).await) }
    });
    let mut read = read.buffered(READ_AT_ONCE);
    let mut readings = Readings::default();
    while let Some((key, object, read)) = read.next().await {
        let wrong = match read {
            Ok(Some((content, stored_bytes))) if content == object.content => {
                readings.count(object, stored_bytes);
                continue;
            }
            Ok(Some(_)) => "other bytes than its name says".to_owned(),
            Ok(None) => "no such object".to_owned(),
            Err(error) => one_line(&error),
        };
        readings.spoilt.push(format!("{wrong}: {}", key.as_str()));
    }
    readings
}

impl Readings {
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

/// The content that an object holds, and the bytes that it takes. Only what is compressed is held whole.
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
            let named = Named {
                key,
                encoding: object.encoding,
                size_bytes: object.content.size_bytes,
                hash: &object.content.hash,
            };
            let Some(content) = objects.content(named, COMPRESSED_OF_BYTES_MAX).await? else {
                return Ok(None);
            };
            hasher.update(&content);
            let facts = objects.head(key).await?;
            facts.map_or(0, |facts| facts.size_bytes)
        }
    };
    Ok(Some((content_of(hasher), stored_bytes)))
}

/// The objects that lie in the bucket's folder, whoever names them.
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

#[expect(
    clippy::print_stdout,
    reason = "what is compared is what the program is asked for"
)]
fn say(line: &str) {
    println!("{line}");
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
            let place = vec![(*name).to_owned()];
            tree.entry(place).or_default().push(content(text));
        }
        tree
    }

    fn compared(on_disk: &[(&str, &str)], stored: &[(&str, &str)]) -> Comparison {
        let stored = Stored {
            tree: tree(stored),
            objects: BTreeMap::new(),
            readings: Readings::default(),
            unnamed: 0,
        };
        Comparison::of(&tree(on_disk), &stored)
    }

    #[test]
    fn what_differs_is_told_by_its_name() {
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
    fn files_of_one_name_are_compared_whatever_their_order() {
        let comparison = compared(&[("a", "1"), ("a", "2")], &[("a", "2"), ("a", "1")]);
        assert_eq!((comparison.equal, comparison.differences.len()), (2, 0));
    }
}
