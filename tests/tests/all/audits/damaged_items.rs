//! Consistency between the items of the table: an audit finds and repairs whatever was damaged by
//! hand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::operation::{Stage, SyncKind};
use domain::{LogId, Operation, OperationId, Run};
use http::Method;
use local::aws::{self, Queue};
use serde_json::{Value, json};

use super::table;
use crate::support::{ByHand, by_hand, own};

type Item = HashMap<String, AttributeValue>;

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Direct access to the table, to damage it.
struct Damage {
    client: Client,
    key: domain::ConnectionKey,
}

impl Damage {
    fn of(hand: &ByHand) -> Self {
        Self {
            client: hand.aws.dynamodb_client(),
            key: hand.key.clone(),
        }
    }

    fn file(&self, file: &str) -> String {
        format!("T#{}#F#{}#{file}", self.key.tenant, self.key.connection)
    }

    fn connection(&self) -> String {
        format!("T#{}#C#{}", self.key.tenant, self.key.connection)
    }

    fn key(pk: &str, sk: &str) -> Item {
        Item::from([("PK".to_owned(), text(pk)), ("SK".to_owned(), text(sk))])
    }

    async fn remove(&self, pk: &str, sk: &str, attributes: &[&str]) {
        let names: Vec<String> = (0..attributes.len()).map(|n| format!("#a{n}")).collect();
        let update = self.client.update_item().table_name(aws::NAME);
        let mut update = update
            .set_key(Some(Self::key(pk, sk)))
            .update_expression(format!("REMOVE {}", names.join(", ")));
        for (name, attribute) in names.iter().zip(attributes) {
            update = update.expression_attribute_names(name, *attribute);
        }
        update.send().await.unwrap();
    }

    /// Removes an item from indexes.
    async fn remove_from_indexes(&self, pk: &str, sk: &str, indexes: &[&str]) {
        for index in indexes {
            let (index_pk, index_sk) = (format!("{index}_pk"), format!("{index}_sk"));
            self.remove(pk, sk, &[&index_pk, &index_sk]).await;
        }
    }

    async fn set(&self, pk: &str, sk: &str, attribute: &str, value: AttributeValue) {
        let update = self.client.update_item().table_name(aws::NAME);
        let update = update
            .set_key(Some(Self::key(pk, sk)))
            .update_expression("SET #a = :a")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_values(":a", value);
        update.send().await.unwrap();
    }

    async fn delete(&self, pk: &str, sk: &str) {
        let delete = self.client.delete_item().table_name(aws::NAME);
        let key = Some(Self::key(pk, sk));
        delete.set_key(key).send().await.unwrap();
    }

    async fn put(&self, item: Item) {
        let put = self.client.put_item().table_name(aws::NAME);
        put.set_item(Some(item)).send().await.unwrap();
    }

    async fn item(&self, pk: &str, sk: &str) -> Option<Item> {
        let get = self.client.get_item().table_name(aws::NAME);
        let get = get.set_key(Some(Self::key(pk, sk)));
        get.consistent_read(true).send().await.unwrap().item
    }

    /// Copies the conflict on the name of `file` to another file.
    async fn copy_conflict(&self, file: &str, to: &str) {
        let (from, pk) = (self.file(file), self.file(to));
        let mut item = self.item(&from, "CONFLICT#name#1").await.unwrap();
        let sort_key = item["attention_sk"].as_s().unwrap().replace(file, to);
        item.insert("PK".to_owned(), text(pk));
        item.insert("attention_sk".to_owned(), text(sort_key));
        self.put(item).await;
    }

    async fn index_key(&self, pk: &str, sk: &str, index: &str) -> Option<AttributeValue> {
        let item = self.item(pk, sk).await.unwrap();
        item.get(&format!("{index}_pk")).cloned()
    }
}

impl ByHand {
    /// Opens a conflict on the name of a file.
    async fn open_conflict(&self, file: &str) {
        self.edit_ok(file, json!({"name": "ours.txt"})).await;
        self.owner().rename(file, "theirs.txt").await;
        self.wait_for_wake().await;
        self.pump().await;
        assert_eq!(self.conflicts_of(file).await.len(), 1);
    }

    /// Deletes the messages of a queue.
    async fn delete_messages(&self, queue: Queue) {
        self.wait_until_visible(queue).await;
        while self.waiting(queue) > 0 {
            let lost = self.receive(queue).await;
            let lost: Vec<String> = lost.into_iter().map(|lost| lost.receipt_handle).collect();
            self.aws.sqs().delete(queue.name(), &lost).unwrap();
        }
    }

    async fn state(&self, id: &str) -> String {
        let operation = self.get(&format!("/operations/{id}")).await;
        operation["state"].as_str().unwrap().to_owned()
    }

    /// Runs an audit to its end.
    async fn audited(&self) -> Value {
        let id = self.audit(false).await;
        for _ in 0..60 {
            self.sweep_and_pump().await;
            if self.state(&id).await == "done" {
                return self.get(&format!("/operations/{id}")).await;
            }
            self.advance_clock(Duration::from_secs(5));
        }
        panic!("the audit does not end: {}", self.get("/operations").await);
    }

    /// Returns the findings of an audit: the affected subjects by kind. All of them must be
    /// `repaired`, or none.
    async fn findings(&self, id: &Value, repaired: bool) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let first = format!("/operations/{}/findings?limit=4", id.as_str().unwrap());
        let mut path = first.clone();
        loop {
            let page = self.get(&path).await;
            for item in page["items"].as_array().unwrap() {
                assert_eq!(item["repaired"], repaired, "{item}");
                let subjects = ["file_id", "log", "operation_id"];
                let subject = subjects.iter().find_map(|id| item[*id].as_str()).unwrap();
                let kind = item["kind"].as_str().unwrap().to_owned();
                found.entry(kind).or_default().insert(subject.to_owned());
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("{first}&cursor={cursor}"),
                None => return found,
            }
        }
    }
}

fn operation(hand: &ByHand, id: &str, run: Run) -> Operation {
    let (key, id) = (hand.key.clone(), OperationId::parse(id).unwrap());
    Operation::new(key, id, LogId::user(), "ann", hand.now(), run)
}

/// A first sync of so many pages, each with one file, that is listed.
fn listed(pages: u32) -> Run {
    let mut run = Run::sync(SyncKind::Initial);
    if let Run::Sync(sync) = &mut run {
        sync.listing.stage = Stage::Listed;
        sync.listing.pages = pages;
        sync.listing.listed = u64::from(pages);
    }
    run
}

/// The damaged files and operations.
struct Planted {
    hidden: String,
    overdue: String,
    unrecorded: String,
    not_in_conflict: String,
    in_no_folder: String,
    unlisted: String,
    never_came: String,
    expected: BTreeMap<String, BTreeSet<String>>,
}

const UNWATCHED: &str = "1795251600000-0000000a";
const STUCK: &str = "1795251600000-0000000b";
const ABANDONED: &str = "1795251600000-0000000c";

/// Causes every kind of damage that can be detected from our items alone.
async fn plant(hand: &ByHand) -> Planted {
    let damage = Damage::of(hand);
    let [
        hidden,
        overdue,
        unrecorded,
        not_in_conflict,
        in_no_folder,
        unlisted,
        never_came,
    ] = [(); 7].map(|()| hand.take());
    hand.open_conflict(&unrecorded).await;
    damage.copy_conflict(&unrecorded, &not_in_conflict).await;
    let pk = damage.file(&unrecorded);
    damage.delete(&pk, "CONFLICT#name#1").await;

    hand.edit_ok(&hidden, json!({"description": "owed"})).await;
    hand.edit_ok(&overdue, json!({"description": "late"})).await;
    hand.delete_messages(Queue::PushWakes).await;
    let pk = damage.file(&hidden);
    damage
        .remove_from_indexes(&pk, "HEAD", &["due", "attention"])
        .await;
    let pk = damage.file(&in_no_folder);
    damage.remove_from_indexes(&pk, "HEAD", &["children"]).await;
    damage
        .remove_from_indexes(&damage.file(&unlisted), "HEAD", &["files"])
        .await;
    damage.delete(&damage.file(&never_came), "HEAD").await;

    let connection = damage.connection();
    let unwatched = operation(hand, UNWATCHED, listed(0));
    let stuck = operation(hand, STUCK, listed(1));
    let abandoned = operation(hand, ABANDONED, Run::sync(SyncKind::Resync));
    for operation in [&unwatched, &stuck, &abandoned] {
        hand.store().create_operation(operation).await.unwrap();
    }
    let sk = format!("OP#{UNWATCHED}");
    damage.remove_from_indexes(&connection, &sk, &["due"]).await;
    let mut page = Damage::key(&connection, &format!("PAGE#{STUCK}#00000000"));
    let ids = AttributeValue::L(vec![text(&never_came)]);
    page.extend([
        ("format".to_owned(), number(1)),
        ("ids".to_owned(), ids),
        (
            "expires".to_owned(),
            number(hand.now().as_seconds() + 86_400),
        ),
    ]);
    damage.put(page).await;

    damage
        .remove_from_indexes(&connection, "LOG#user", &["due"])
        .await;
    let channel = format!("CHANNEL#{}", hand.channel().await.id);
    damage.remove_from_indexes(&channel, "META", &["due"]).await;
    let before = number(hand.now().as_millis() - 1);
    damage.set(&channel, "META", "expires_at", before).await;
    // Long enough for everything to count as overdue.
    hand.advance_clock(Duration::from_mins(40));
    let later = stuck.postponed(hand.now());
    let store = hand.store();
    store.advance_operation(&stuck, &later).await.unwrap();
    let kinds: [(&str, &[&str]); 10] = [
        ("intent_not_due", &[&hidden]),
        ("intent_overdue", &[&hidden, &overdue]),
        ("file_misplaced", &[&in_no_folder, &unlisted]),
        ("conflict_unrecorded", &[&unrecorded]),
        ("conflict_stray", &[&not_in_conflict]),
        ("log_not_due", &["user"]),
        ("log_not_read", &["user"]),
        ("channel_lapsed", &["user"]),
        ("operation_stalled", &[UNWATCHED, STUCK]),
        ("operation_abandoned", &[ABANDONED]),
    ];
    let of = |of: &[&str]| of.iter().map(|id| (*id).to_owned()).collect();
    let expected = kinds.map(|(kind, on)| (kind.to_owned(), of(on)));
    Planted {
        hidden,
        overdue,
        unrecorded,
        not_in_conflict,
        in_no_folder,
        unlisted,
        never_came,
        expected: BTreeMap::from(expected),
    }
}

#[test]
fn all_damage_is_found_and_repaired_and_not_found_again() {
    by_hand(12, async |hand| {
        let planted = plant(hand).await;
        let damage = Damage::of(hand);
        let before = table(&damage.client, &["PACE", "SLOTS"]).await;
        let dry = hand.audit(true).await;
        while ["examining", "listing", "listed", "comparing"]
            .contains(&hand.state(&dry).await.as_str())
        {
            hand.sweep().await;
        }
        let after = table(&damage.client, &["PACE", "SLOTS"]).await;
        let moved = before
            .iter()
            .filter(|(key, item)| after.get(key) != Some(item));
        let moved: Vec<_> = moved.collect();
        assert!(moved.is_empty() && after.len() == before.len(), "{moved:?}");
        let path = format!("/operations/{dry}/cancel");
        let cancelled = hand.post(&path, json!({})).await;
        assert_eq!(
            hand.findings(&cancelled["id"], false).await,
            planted.expected
        );
        for (kind, on) in &planted.expected {
            if kind == "file_misplaced" {
                // One of them was found by the listing, after the count.
                continue;
            }
            let count = json!({"found": on.len(), "repaired": 0});
            assert_eq!(cancelled["findings"][kind], count, "{kind}: {cancelled}");
        }
        hand.delete_messages(Queue::PushWakes).await;
        hand.delete_messages(Queue::LogWakes).await;

        // A change that no log reports is found only by the comparison with Drive.
        hand.hide_changes().await;
        let behind = hand.take();
        hand.owner().rename(&behind, "unreported.txt").await;
        let done = hand.audited().await;
        let mut expected = planted.expected.clone();
        expected.insert("cursor_ahead".to_owned(), ["user".to_owned()].into());
        assert_eq!(hand.findings(&done["id"], true).await, expected);
        for (kind, on) in &expected {
            let count = json!({"found": on.len(), "repaired": on.len()});
            assert_eq!(done["findings"][kind], count, "{kind}: {done}");
        }
        repaired(hand, &damage, &planted).await;
        assert_eq!(hand.file(&behind).await["fields"]["name"], "unreported.txt");

        let again = hand.audited().await;
        assert_eq!(
            again["findings"],
            json!({}),
            "{:?}",
            hand.findings(&again["id"], true).await
        );
        assert_eq!(again["drift"]["stale"], 0);
    });
}

/// Asserts that everything is as it would be without the damage.
async fn repaired(hand: &ByHand, damage: &Damage, planted: &Planted) {
    for _ in 0..10 {
        hand.sweep_and_pump().await;
        hand.advance_clock(Duration::from_secs(20));
    }
    let owner = hand.owner();
    assert_eq!(owner.get(&planted.hidden).await["description"], "owed");
    assert_eq!(owner.get(&planted.overdue).await["description"], "late");
    let conflicts = hand.conflicts_of(&planted.unrecorded).await;
    let [conflict] = conflicts.as_slice() else {
        panic!("{conflicts:?}");
    };
    assert_eq!(
        (&conflict["status"], &conflict["app"], &conflict["drive"]),
        (&json!("open"), &json!("ours.txt"), &json!("theirs.txt"))
    );
    let closed = hand.conflicts_of(&planted.not_in_conflict).await;
    assert_eq!(
        (&closed[0]["status"], &closed[0]["app"]),
        (&json!("closed"), &json!("ours.txt")),
        "its values are kept"
    );
    for (file, index) in [
        (&planted.in_no_folder, "children"),
        (&planted.unlisted, "files"),
    ] {
        let pk = damage.file(file);
        assert!(damage.index_key(&pk, "HEAD", index).await.is_some());
    }
    let came = hand.file(&planted.never_came).await;
    assert_eq!(came["presence"], "present");
    for id in [UNWATCHED, STUCK] {
        assert_eq!(hand.state(id).await, "done", "{id}");
    }
    assert_eq!(hand.state(ABANDONED).await, "failed");
    let connection = damage.connection();
    let due = damage.index_key(&connection, "LOG#user", "due").await;
    assert!(due.is_some());
    let channel = hand.channel().await;
    assert!(channel.expires_at > hand.now() && channel.state == store::ChannelState::Active);
}

#[test]
fn a_log_without_a_channel_gets_one_or_is_reported_as_not_repaired() {
    by_hand(3, async |hand| {
        let damage = Damage::of(hand);
        let connection = damage.connection();
        let user = || BTreeSet::from(["user".to_owned()]);
        damage.remove(&connection, "LOG#user", &["channel"]).await;
        let done = hand.audited().await;
        let missing = BTreeMap::from([("channel_missing".to_owned(), user())]);
        assert_eq!(hand.findings(&done["id"], true).await, missing);
        let channel = hand.log().await.channel.unwrap();

        damage.delete(&format!("CHANNEL#{channel}"), "META").await;
        let done = hand.audited().await;
        let lapsed = BTreeMap::from([("channel_lapsed".to_owned(), user())]);
        assert_eq!(hand.findings(&done["id"], true).await, lapsed);
        assert_ne!(hand.log().await.channel.unwrap(), channel);

        damage.remove(&connection, "LOG#user", &["channel"]).await;
        let no = json!({"status": 403, "reason": "rateLimitExceeded"});
        hand.fault(json!({"match": "POST /drive/v3/changes/watch", "times": 0, "respond": no}));
        // The first audit has the sweep request a channel, which Drive rejects.
        hand.audited().await;
        let done = hand.audited().await;
        assert_eq!(hand.findings(&done["id"], false).await, missing);
        let counts = json!({"channel_missing": {"found": 1, "repaired": 0}});
        assert_eq!(done["findings"], counts);
    });
}

#[test]
fn a_conflict_without_a_file_record_is_left_to_a_person() {
    by_hand(4, async |hand| {
        let damage = Damage::of(hand);
        let file = hand.take();
        hand.open_conflict(&file).await;
        damage.copy_conflict(&file, "1nobody").await;
        for _ in 0..2 {
            let done = hand.audited().await;
            let found = BTreeSet::from(["1nobody".to_owned()]);
            let found = BTreeMap::from([("conflict_of_nobody".to_owned(), found)]);
            assert_eq!(hand.findings(&done["id"], false).await, found);
        }
        let open = hand.get("/conflicts?status=open").await;
        assert_eq!(open["items"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn an_interrupted_self_check_finds_and_repairs_the_same() {
    by_hand(12, async |hand| {
        let planted = plant(hand).await;
        let damage = Damage::of(hand);
        let id = hand.audit(false).await;
        let mut calls = 1;
        let mut cut_off = 0;
        while hand.state(&id).await == "examining" {
            assert!(calls < 2_000, "it makes no progress");
            cut_off += u32::from(hand.operation_crashes(&id, calls).await);
            calls += 3;
        }
        assert!(cut_off > 5, "{cut_off}");
        for _ in 0..60 {
            if hand.state(&id).await == "done" {
                break;
            }
            hand.sweep_and_pump().await;
            hand.advance_clock(Duration::from_secs(5));
        }
        let found = hand.findings(&json!(id), true).await;
        for (kind, on) in &planted.expected {
            assert_eq!(found.get(kind), Some(on), "{kind}");
        }
        repaired(hand, &damage, &planted).await;
    });
}

#[test]
fn in_a_healthy_system_no_inconsistency_is_found() {
    own(async |world| {
        let [edited, disputed, deleted] = [(); 3].map(|()| world.take());
        let owner = world.owner();
        world.edit_ok(&edited, json!({"description": "ours"})).await;
        world.disable_notifications();
        world.post("/pause", json!({})).await;
        world.edit_ok(&disputed, json!({"name": "ours.txt"})).await;
        owner.rename(&disputed, "theirs.txt").await;
        owner.delete(&deleted).await;
        world.post("/resume", json!({})).await;
        world.conflict_on(&disputed, "name").await;
        world
            .file_until("it is gone", &deleted, |f| f["presence"] == "removed")
            .await;
        world.converge().await;
        let id = world.audit(false).await;
        let done = world.operation_in(&id, "done").await;
        let path = format!("/operations/{id}/findings");
        let found = world.get(&path).await;
        assert_eq!(found, json!({"items": [], "next_cursor": null}));
        assert_eq!(done["findings"], json!({}));
        let other = world
            .api(Method::GET, &format!("{path}?kind=none"), &[], None)
            .await;
        assert_eq!(other.status, 400, "{}", other.body);
    });
}
