//! The table and the client, and the few calls that the verbs are made of.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ReturnValue, ReturnValuesOnConditionCheckFailure, Select,
    TransactWriteItem,
};

use crate::key::{Item, Key};
use crate::page::Position;
use crate::range::{Order, Range};
use crate::update::{Replaces, Update};
use crate::{Page, PageRequest, StoreError};

/// Rounds of asking again for what DynamoDB left undone, or for a transaction that met another.
pub(crate) const ROUNDS_MAX: u32 = 6;

/// The table.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) client: Client,
    pub(crate) table: String,
}

/// What became of a conditional write.
#[derive(Debug)]
pub(crate) enum Applied {
    /// Done; the item as it is now, where the call says.
    Done(Item),
    /// The condition did not hold; the item as it is.
    Refused(Option<Item>),
}

/// What became of a transaction.
#[derive(Debug)]
pub(crate) enum Transacted {
    /// All of it was done.
    Done,
    /// None of it was: a condition did not hold, the first of them for this item.
    Refused(Option<Item>),
}

/// Part of a range, in its order.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) items: Vec<Item>,
    /// Whether there may be more behind the last item.
    pub(crate) more: bool,
}

impl Store {
    /// Speaks to `table` through `client`, whose timeouts and retries are its own.
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }

    /// Reads one item, consistently.
    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let call = self.client.get_item().table_name(&self.table);
        let call = call.set_key(Some(key.to_item())).consistent_read(true);
        Ok(call.send().await?.item)
    }

    pub(crate) async fn put(&self, item: Item, replaces: Replaces) -> Result<Applied, StoreError> {
        for round in 0..ROUNDS_MAX {
            let call = self.client.put_item().table_name(&self.table);
            let call = call
                .set_item(Some(item.clone()))
                .set_condition_expression(replaces.condition().map(str::to_owned))
                .set_expression_attribute_names(replaces.names())
                .set_expression_attribute_values(replaces.values())
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            let error = match call.send().await {
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
            "transactions on the item kept meeting this write",
        ))
    }

    pub(crate) async fn update(&self, update: Update) -> Result<Applied, StoreError> {
        for round in 0..ROUNDS_MAX {
            let values = Some(update.values.clone()).filter(|values| !values.is_empty());
            let call = self.client.update_item().table_name(&self.table);
            let call = call
                .set_key(Some(update.key.to_item()))
                .update_expression(update.expression())
                .condition_expression(update.condition())
                .set_expression_attribute_names(Some(update.names.clone()))
                .set_expression_attribute_values(values)
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            let error = match call.send().await {
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
            "transactions on the item kept meeting this write",
        ))
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let call = self.client.delete_item().table_name(&self.table);
        call.set_key(Some(key.to_item())).send().await?;
        Ok(())
    }

    /// Deletes an item on the conditions of `guard`.
    pub(crate) async fn delete_when(&self, guard: Update) -> Result<Applied, StoreError> {
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
            let error = match call.send().await {
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
            "transactions on the item kept meeting this deletion",
        ))
    }

    /// Does all of the writes or none. A repeat by the SDK is the same transaction to DynamoDB (it sends
    /// the same token), so a lost answer is not mistaken for a refusal.
    pub(crate) async fn transact(
        &self,
        writes: Vec<TransactWriteItem>,
    ) -> Result<Transacted, StoreError> {
        for round in 0..ROUNDS_MAX {
            let call = self.client.transact_write_items();
            let call = call.set_transact_items(Some(writes.clone()));
            let error = match call.send().await {
                Ok(_) => return Ok(Transacted::Done),
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
            if let Some(reason) = reasons.iter().find(|reason| refused(reason)) {
                return Ok(Transacted::Refused(reason.item().cloned()));
            }
            let conflict =
                |reason: &CancellationReason| reason.code() == Some("TransactionConflict");
            if !reasons.iter().any(conflict) {
                let mut codes = reasons.iter().filter_map(CancellationReason::code);
                let code = codes.rfind(|code| *code != "None").map(str::to_owned);
                return Err(StoreError::by_code(code.as_deref(), Box::new(error)));
            }
            pause(round).await;
        }
        Err(StoreError::busy("other transactions kept meeting this one"))
    }

    /// One query: at most `limit` items of a range.
    pub(crate) async fn slice(&self, range: &Range, limit: u32) -> Result<Slice, StoreError> {
        let Some(query) = self.query(range, limit) else {
            return Ok(Slice {
                items: Vec::new(),
                more: false,
            });
        };
        let output = query.send().await?;
        Ok(Slice {
            more: output.last_evaluated_key.is_some(),
            items: output.items.unwrap_or_default(),
        })
    }

    /// One page of the items of a range.
    pub(crate) async fn list_range<T>(
        &self,
        list: &'static str,
        all: Range,
        page: &PageRequest,
        decode: impl Fn(Item) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let range = match page.position(list)?.and_then(|position| position.after) {
            Some(after) => all.behind(&after)?,
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

    /// How many items a range has, counted up to `limit`, and whether there may be more.
    pub(crate) async fn count(&self, range: &Range, limit: u32) -> Result<(u64, bool), StoreError> {
        let Some(query) = self.query(range, limit) else {
            return Ok((0, false));
        };
        let output = query.select(Select::Count).send().await?;
        let count = u64::try_from(output.count).unwrap_or_default();
        Ok((count, output.last_evaluated_key.is_some()))
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
