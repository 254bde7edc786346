//! The table and the client, and the few calls that all verbs are made of.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ReturnValue, ReturnValuesOnConditionCheckFailure, Select,
};
use domain::event::TableMark;
use domain::{Cause, Timestamp};
use tokio::sync::OnceCell;

use crate::connection::answers::KeyedWrite;
use crate::table::item::Encoded;
use crate::table::key::{Item, Key};
use crate::table::page::Position;
use crate::table::range::{Order, Range};
use crate::table::retention::Retention;
use crate::table::update::{ABSENT, Replaces, StoredFormat, Update, Write};
use crate::trail::acts::{Draft, PendingAct, Riders};
use crate::{Admission, Page, PageRequest, ReadMeter, StoreError};

/// The rounds of retries for unprocessed items, or for a write that met a transaction.
pub(crate) const ROUNDS_MAX: u32 = 6;
/// The attempts to add an act to a chain: twice as many as there are chains.
const CHAIN_ATTEMPTS_MAX: u8 = 32;

/// The keys of an index that cost as much to count as one record costs to read.
const KEYS_PER_READ: u64 = 10;

/// The table, on behalf of a cause: what is written through it carries that cause.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) client: Client,
    pub(crate) table: String,
    /// The answer of a request, to be stored with the next write.
    pub(crate) keyed: Option<Arc<KeyedWrite>>,
    /// The act of a request, to be written with the next write.
    pub(crate) act: Option<PendingAct>,
    /// What a tenant begins with the next write.
    pub(crate) admission: Option<Admission>,
    /// What counts the reads.
    pub(crate) meter: Option<ReadMeter>,
    pub(crate) cause: Option<Cause>,
    pub(crate) retention: Retention,
    /// Which table it is.
    pub(crate) mark: Option<TableMark>,
    /// When it was restored, once that was read.
    pub(crate) restored: Arc<OnceCell<Option<Timestamp>>>,
}

/// The outcome of a conditional write.
#[derive(Debug)]
pub(crate) enum Applied {
    /// Done; the item as it is now, if the call returns it.
    Done(Item),
    /// The condition did not hold; the item as it is.
    Refused(Option<Item>),
}

/// The outcome of a transaction.
#[derive(Debug)]
pub(crate) enum Transacted {
    /// All writes were made.
    Done,
    /// None was made: a condition did not hold. The item of the first such write.
    Refused(Option<Item>),
}

/// Part of a range, in its order.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) items: Vec<Item>,
    /// Whether there may be more after the last item.
    pub(crate) more: bool,
}

impl Slice {
    /// Returns the sort key of the last item.
    pub(crate) fn last_sk(&self) -> Result<Option<String>, StoreError> {
        let last = self.items.last().map(Key::of).transpose()?;
        Ok(last.map(|last| last.sk))
    }
}

impl Store {
    /// Uses `table` through `client`, which brings its own timeouts and retries.
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
            keyed: None,
            act: None,
            admission: None,
            meter: None,
            cause: None,
            retention: Retention::default(),
            mark: None,
            restored: Arc::default(),
        }
    }

    /// Returns the same table on behalf of this cause: it is stored with every file, history entry,
    /// conflict, operation and dead letter that is written through it.
    #[must_use]
    pub fn caused_by(&self, cause: Cause) -> Self {
        Self {
            cause: Some(cause),
            ..self.clone()
        }
    }

    /// Returns the cause that this table is used on behalf of.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Reads one item consistently.
    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let call = self.client.get_item().table_name(&self.table);
        let call = call.set_key(Some(key.to_item())).consistent_read(true);
        Ok(sent(call.send()).await?.item)
    }

    /// Creates or replaces an item. What newer code added to a stored item survives.
    pub(crate) async fn put(
        &self,
        encoded: Encoded,
        replaces: Replaces,
    ) -> Result<Applied, StoreError> {
        let shown = self
            .shown_writes(vec![Write::Put(encoded, replaces)])
            .await?;
        let Some(Write::Put(encoded, replaces)) = shown.into_iter().next() else {
            return Err(StoreError::busy("there is nothing to write"));
        };
        encoded.check_size()?;
        if self.has_riders() {
            let item = encoded.item.clone();
            return self
                .apply_with_riders(Write::Put(encoded, replaces), item)
                .await;
        }
        if replaces == Replaces::Nothing {
            return self.create(encoded.item).await;
        }
        let replace = async |stored| {
            let update = Update::replace(&encoded, replaces, stored);
            self.apply(update, ReturnValue::None).await
        };
        match replace(StoredFormat::Known).await? {
            Applied::Refused(Some(stored)) if replaces.is_met_in_next_format(&stored) => {
                replace(StoredFormat::Next).await
            }
            outcome @ (Applied::Done(_) | Applied::Refused(_)) => Ok(outcome),
        }
    }

    async fn create(&self, item: Item) -> Result<Applied, StoreError> {
        for round in 0..ROUNDS_MAX {
            let call = self.client.put_item().table_name(&self.table);
            let call = call
                .set_item(Some(item.clone()))
                .condition_expression(ABSENT)
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            let error = match sent(call.send()).await {
                Ok(_) => return Ok(Applied::Done(item)),
                Err(error) => error,
            };
            if let Some(PutItemError::ConditionalCheckFailedException(why)) =
                error.as_service_error()
            {
                return Ok(Applied::Refused(why.item().cloned()));
            }
            if !matches!(
                error.as_service_error(),
                Some(PutItemError::TransactionConflictException(_))
            ) {
                return Err(error.into());
            }
            pause(round).await;
        }
        Err(StoreError::busy(
            "the write kept conflicting with transactions on the item",
        ))
    }

    /// Updates an item, and returns it.
    pub(crate) async fn update(&self, update: Update) -> Result<Applied, StoreError> {
        let shown = self.shown_writes(vec![Write::Update(update)]).await?;
        let Some(Write::Update(update)) = shown.into_iter().next() else {
            return Err(StoreError::busy("there is nothing to write"));
        };
        if self.has_riders() {
            let key = update.key.clone();
            let applied = self.apply_with_riders(Write::Update(update), Item::new());
            return Ok(match applied.await? {
                Applied::Done(_) => Applied::Done(self.get(&key).await?.unwrap_or_default()),
                refused @ Applied::Refused(_) => refused,
            });
        }
        self.apply(update, ReturnValue::AllNew).await
    }

    async fn apply(&self, update: Update, returns: ReturnValue) -> Result<Applied, StoreError> {
        for round in 0..ROUNDS_MAX {
            let values = Some(update.values.clone()).filter(|values| !values.is_empty());
            let call = self.client.update_item().table_name(&self.table);
            let call = call
                .set_key(Some(update.key.to_item()))
                .update_expression(update.expression())
                .condition_expression(update.condition())
                .set_expression_attribute_names(Some(update.names.clone()))
                .set_expression_attribute_values(values)
                .return_values(returns.clone())
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            let error = match sent(call.send()).await {
                Ok(output) => return Ok(Applied::Done(output.attributes.unwrap_or_default())),
                Err(error) => error,
            };
            if let Some(UpdateItemError::ConditionalCheckFailedException(why)) =
                error.as_service_error()
            {
                return Ok(Applied::Refused(why.item().cloned()));
            }
            if !matches!(
                error.as_service_error(),
                Some(UpdateItemError::TransactionConflictException(_))
            ) {
                return Err(error.into());
            }
            pause(round).await;
        }
        Err(StoreError::busy(
            "the write kept conflicting with transactions on the item",
        ))
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        if self.has_riders() {
            // An item that is gone already needs no transaction.
            let delete = Write::Delete(Update::of(key.clone()));
            return self.apply_with_riders(delete, Item::new()).await.map(drop);
        }
        let call = self.client.delete_item().table_name(&self.table);
        sent(call.set_key(Some(key.to_item())).send()).await?;
        Ok(())
    }

    /// Deletes an item on the conditions of `guard`.
    pub(crate) async fn delete_when(&self, guard: Update) -> Result<Applied, StoreError> {
        if self.has_riders() {
            return self
                .apply_with_riders(Write::Delete(guard), Item::new())
                .await;
        }
        for round in 0..ROUNDS_MAX {
            let values = Some(guard.values.clone()).filter(|values| !values.is_empty());
            let call = self.client.delete_item().table_name(&self.table);
            let call = call
                .set_key(Some(guard.key.to_item()))
                .condition_expression(guard.condition())
                .set_expression_attribute_names(Some(guard.names.clone()).filter(|n| !n.is_empty()))
                .set_expression_attribute_values(values)
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            let error = match sent(call.send()).await {
                Ok(_) => return Ok(Applied::Done(Item::new())),
                Err(error) => error,
            };
            if let Some(DeleteItemError::ConditionalCheckFailedException(why)) =
                error.as_service_error()
            {
                return Ok(Applied::Refused(why.item().cloned()));
            }
            if !matches!(
                error.as_service_error(),
                Some(DeleteItemError::TransactionConflictException(_))
            ) {
                return Err(error.into());
            }
            pause(round).await;
        }
        Err(StoreError::busy(
            "the deletion kept conflicting with transactions on the item",
        ))
    }

    /// Returns the admission that the next write stores.
    fn unstored_admission(&self) -> Option<&Admission> {
        let admission = self.admission.as_ref();
        admission.filter(|admission| !admission.is_stored())
    }

    /// Returns the answer that the next write stores.
    fn answer(&self) -> Option<&KeyedWrite> {
        self.keyed.as_deref().filter(|keyed| !keyed.is_stored())
    }

    /// Returns the act that the next write writes as well.
    fn pending_act(&self) -> Option<&PendingAct> {
        self.act.as_ref().filter(|act| !act.is_stored())
    }

    /// Returns whether the next write is a transaction: with an answer, an act or an admission.
    fn has_riders(&self) -> bool {
        self.answer().is_some()
            || self.pending_act().is_some()
            || self.unstored_admission().is_some()
    }

    /// Makes one write in a transaction with what goes with it.
    async fn apply_with_riders(&self, write: Write, after: Item) -> Result<Applied, StoreError> {
        Ok(match self.transact(vec![write]).await? {
            Transacted::Done => Applied::Done(after),
            Transacted::Refused(current) => Applied::Refused(current),
        })
    }

    /// Makes all of the writes or none, together with the answer and the act of their request and
    /// the admission of what they begin, if there are any. A retry by the SDK sends the same token,
    /// so DynamoDB recognises the transaction, and a lost response is not mistaken for a refusal.
    pub(crate) fn transact(&self, writes: Vec<Write>) -> Boxed<'_, Transacted> {
        self.transact_with(writes, None)
    }

    /// Makes the writes of [`Store::transact`], and in the same transaction the act of a policy.
    pub(crate) fn transact_with<'a>(
        &'a self,
        writes: Vec<Write>,
        policy: Option<&'a Draft>,
    ) -> Boxed<'a, Transacted> {
        Box::pin(self.transact_all(writes, policy))
    }

    async fn transact_all(
        &self,
        writes: Vec<Write>,
        policy: Option<&Draft>,
    ) -> Result<Transacted, StoreError> {
        let mut writes = self.shown_writes(writes).await?;
        let answer = self.answer();
        let answered = answer.map(|answer| answer.write(&writes)).transpose()?;
        let admission = self.unstored_admission();
        let admission_at = writes.len();
        if let Some(admission) = admission {
            writes.push(admission.write()?);
        }
        let answer_at = writes.len();
        writes.extend(answered);
        for write in &writes {
            write.check_size()?;
        }
        let riders = Riders {
            pending: self.pending_act(),
            policy,
        };
        let ready = match riders.is_empty() {
            true => None,
            false => self.prepare(riders).await?,
        };
        let mut formats = vec![StoredFormat::Known; writes.len()];
        let (mut rounds, mut chains) = (0, 0);
        loop {
            let chained = match &ready {
                Some(ready) => self.chained(ready, chains).await?,
                None => Vec::new(),
            };
            for write in &chained {
                write.check_size()?;
            }
            let items = writes.iter().zip(&formats);
            let items = items.map(|(write, stored)| write.in_transaction(&self.table, *stored));
            let known = StoredFormat::Known;
            let acts = chained.iter();
            let acts = acts.map(|write| write.in_transaction(&self.table, known));
            let call = self.client.transact_write_items();
            let call = call.set_transact_items(Some(items.chain(acts).collect::<Result<_, _>>()?));
            let error = match sent(call.send()).await {
                Ok(_) => {
                    if let Some(answer) = answer {
                        answer.stored();
                    }
                    riders.stored();
                    if let Some(admission) = admission {
                        admission.stored();
                    }
                    return Ok(Transacted::Done);
                }
                Err(error) => error,
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(why)) =
                error.as_service_error()
            else {
                return Err(error.into());
            };
            let reasons = why.cancellation_reasons();
            let refused =
                |reason: &CancellationReason| reason.code() == Some("ConditionalCheckFailed");
            let conflict =
                |reason: &CancellationReason| reason.code() == Some("TransactionConflict");
            // The state of the others says nothing if the answer is there: the first request with
            // the key has changed it.
            if answer.is_some() && reasons.get(answer_at).is_some_and(refused) {
                return Err(StoreError::busy(
                    "a request with the same Idempotency-Key was carried out meanwhile",
                ));
            }
            if let Some(admission) = admission
                && reasons.get(admission_at).is_some_and(refused)
            {
                admission.refused();
                return Err(StoreError::busy("the tenant has begun something meanwhile"));
            }
            let mut newer = false;
            for ((write, stored), reason) in writes.iter().zip(&mut formats).zip(reasons) {
                match reason.item() {
                    Some(item) if refused(reason) && write.is_met_in_next_format(item) => {
                        *stored = StoredFormat::Next;
                        newer = true;
                    }
                    item if refused(reason) => return Ok(Transacted::Refused(item.cloned())),
                    Some(_) | None => {}
                }
            }
            let own = reasons.get(..writes.len()).unwrap_or(reasons);
            let of_acts = reasons.get(writes.len()..).unwrap_or_default();
            let met = own.iter().any(conflict);
            let lost = of_acts
                .iter()
                .any(|reason| refused(reason) || conflict(reason));
            if newer {
                rounds += 1;
            } else if met {
                pause(rounds).await;
                rounds += 1;
            } else if lost {
                // Another act was added to the chain meanwhile: the next chain may be free.
                pause(u32::from(chains / 8).min(3)).await;
                chains += 1;
            } else {
                let mut codes = reasons.iter().filter_map(CancellationReason::code);
                let code = codes.rfind(|code| *code != "None").map(str::to_owned);
                return Err(StoreError::by_code(code.as_deref(), Box::new(error)));
            }
            if rounds >= ROUNDS_MAX || chains >= CHAIN_ATTEMPTS_MAX {
                return Err(StoreError::busy(
                    "the transaction kept conflicting with others",
                ));
            }
        }
    }

    /// Runs one query: at most `limit` items of a range.
    pub(crate) async fn slice(&self, range: &Range, limit: u32) -> Result<Slice, StoreError> {
        let Some(query) = self.query(range, limit) else {
            return Ok(Slice {
                items: Vec::new(),
                more: false,
            });
        };
        let output = sent(query.send()).await?;
        let items = output.items.unwrap_or_default();
        self.count_read(items.len() as u64);
        Ok(Slice {
            more: output.last_evaluated_key.is_some(),
            items,
        })
    }

    /// Reads one page of the items of a range.
    pub(crate) async fn list_range<T>(
        &self,
        list: &'static str,
        all: Range,
        page: &PageRequest,
        decode: impl Fn(Item) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let range = match page.position(list)?.and_then(|position| position.after) {
            Some(after) => all.after(&after)?,
            None => all,
        };
        let slice = self.slice(&range, page.limit()).await?;
        let last = slice.items.last().map(Key::of).transpose()?;
        let next_cursor = match last.filter(|_| slice.more) {
            Some(last) => Some(Position::after(0, last.sk).cursor(list)?),
            None => None,
        };
        let items = slice
            .items
            .into_iter()
            .map(decode)
            .collect::<Result<_, _>>()?;
        Ok(Page { items, next_cursor })
    }

    /// Counts the items of a range up to `limit`, and returns whether there may be more.
    pub(crate) async fn count(&self, range: &Range, limit: u32) -> Result<(u64, bool), StoreError> {
        let Some(query) = self.query(range, limit) else {
            return Ok((0, false));
        };
        let output = sent(query.select(Select::Count).send()).await?;
        let count = u64::try_from(output.count).unwrap_or_default();
        self.count_read(count / KEYS_PER_READ);
        Ok((count, output.last_evaluated_key.is_some()))
    }

    /// Counts the items of a range up to `limit`, over as many queries as that takes.
    pub(crate) async fn count_whole(&self, range: &Range, limit: u32) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut start = None;
        loop {
            let left = u64::from(limit).saturating_sub(count);
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            let Some(query) = self.query(range, left).filter(|_| left > 0) else {
                return Ok(count);
            };
            let query = query.select(Select::Count).set_exclusive_start_key(start);
            let output = sent(query.send()).await?;
            let counted = u64::try_from(output.count).unwrap_or_default();
            self.count_read(counted / KEYS_PER_READ);
            count += counted;
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(count);
            }
        }
    }

    fn query(
        &self,
        range: &Range,
        limit: u32,
    ) -> Option<aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder> {
        let (low, high) = range.bounds()?;
        let pk = range.index.map_or("PK", |index| index.pk());
        let sk = range.index.map_or("SK", |index| index.sk());
        let query = self.client.query().table_name(&self.table);
        let query = query
            .set_index_name(range.index.map(|index| index.name().to_owned()))
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :low AND :high")
            .expression_attribute_names("#pk", pk)
            .expression_attribute_names("#sk", sk)
            .expression_attribute_values(":pk", AttributeValue::S(range.pk.clone()))
            .expression_attribute_values(":low", AttributeValue::S(low.to_owned()))
            .expression_attribute_values(":high", AttributeValue::S(high.to_owned()))
            .scan_index_forward(range.order == Order::Ascending)
            .limit(i32::try_from(limit.max(1)).unwrap_or(i32::MAX));
        // Indexes have no consistent reads.
        Some(query.consistent_read(range.index.is_none()))
    }
}

/// Waits before the next round: 20 ms, doubling. Six rounds take about 1.3 s.
pub(crate) async fn pause(round: u32) {
    tokio::time::sleep(Duration::from_millis(20 << round.min(6))).await;
}

/// A future on the heap, whose type says nothing of what it waits for.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Puts a call of the SDK on the heap. Its future takes many kilobytes, and every future that waits
/// for it would be as large: nested a few times, too large for a thread's stack.
pub(crate) fn sent<F: Future>(call: F) -> std::pin::Pin<Box<F>> {
    Box::pin(call)
}
