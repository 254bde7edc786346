//! A conditional update of one item: the attributes to set or remove, and their expected values.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
    Update as SdkUpdate,
};
use domain::Timestamp;

use crate::StoreError;
use crate::table::item::{EXPIRES, Encoded, FORMAT, FORMAT_MAX, FORMAT_NAME, format_of};
use crate::table::key::{Index, Item, Key, due_place};

/// An update under construction. All attribute names are aliased, so none can be a reserved word.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) key: Key,
    sets: BTreeSet<String>,
    removes: BTreeSet<String>,
    adds: BTreeSet<String>,
    conditions: Vec<String>,
    pub(crate) names: HashMap<String, String>,
    pub(crate) values: HashMap<String, AttributeValue>,
}

impl Update {
    /// Builds the update that replaces a stored item by `encoded`: the attributes that this build
    /// writes are set, those that it knows and does not write are removed, and all others are left
    /// alone, since newer code wrote them.
    ///
    /// The item gets this build's format, on condition that its format is not a later one; with
    /// [`StoredFormat::Next`] it keeps that of the next release, on condition that it has it.
    pub(crate) fn replace(encoded: &Encoded, replaces: Replaces, stored: StoredFormat) -> Self {
        let mut update = Self {
            conditions: Vec::new(),
            ..Self::of(encoded.key.clone())
        };
        let own = ["PK", "SK", FORMAT_NAME];
        let indexes = Index::ALL.into_iter();
        let indexes = indexes.flat_map(|index| [index.pk(), index.sk()]);
        let known = encoded.known.iter().copied();
        let known: BTreeSet<&str> = known.chain(indexes).chain([EXPIRES]).collect();
        let written = encoded.item.iter();
        for (name, value) in written.filter(|(name, _)| !own.contains(&name.as_str())) {
            update = update.set(name, value.clone());
        }
        for name in known {
            if !encoded.item.contains_key(name) {
                update = update.remove(name);
            }
        }
        if let Replaces::Revision(before) = replaces {
            update = update.when_number("revision", before);
        }
        match stored {
            StoredFormat::Known => update
                .set_number(FORMAT_NAME, FORMAT)
                .when_at_most_or_absent(FORMAT_NAME),
            StoredFormat::Next => update.when_number(FORMAT_NAME, FORMAT_MAX),
        }
    }

    /// Starts an update of an item that exists.
    pub(crate) fn of(key: Key) -> Self {
        Self {
            key,
            sets: BTreeSet::new(),
            removes: BTreeSet::new(),
            adds: BTreeSet::new(),
            conditions: vec!["attribute_exists(PK)".to_owned()],
            names: HashMap::new(),
            values: HashMap::new(),
        }
    }

    fn alias(&mut self, name: &str) -> String {
        let alias = format!("#{name}");
        self.names.insert(alias.clone(), name.to_owned());
        alias
    }

    pub(crate) fn set(mut self, name: &str, value: AttributeValue) -> Self {
        let alias = self.alias(name);
        self.sets.insert(format!("{alias} = :{name}"));
        self.values.insert(format!(":{name}"), value);
        self
    }

    pub(crate) fn set_text(self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, AttributeValue::S(value.into()))
    }

    pub(crate) fn set_number(self, name: &str, value: impl ToString) -> Self {
        self.set(name, AttributeValue::N(value.to_string()))
    }

    /// Adds to a number that is present, whatever its value.
    pub(crate) fn add(mut self, name: &str, difference: i64) -> Self {
        let alias = self.alias(name);
        self.sets.insert(format!("{alias} = {alias} + :add_{name}"));
        let value = AttributeValue::N(difference.to_string());
        self.values.insert(format!(":add_{name}"), value);
        self
    }

    /// Adds a text to a set of texts, which may be absent.
    pub(crate) fn include(mut self, name: &str, text: &str) -> Self {
        let alias = self.alias(name);
        self.adds.insert(format!("{alias} :include_{name}"));
        let value = AttributeValue::Ss(vec![text.to_owned()]);
        self.values.insert(format!(":include_{name}"), value);
        self
    }

    pub(crate) fn remove(mut self, name: &str) -> Self {
        let alias = self.alias(name);
        self.removes.insert(alias);
        self
    }

    /// Moves the item in the index `due`, or out of it.
    pub(crate) fn due(self, at: Option<Timestamp>) -> Self {
        match at {
            Some(at) => {
                let (pk, sk) = due_place(&self.key, at);
                self.set_text(Index::Due.pk(), pk)
                    .set_text(Index::Due.sk(), sk)
            }
            None => self.remove(Index::Due.pk()).remove(Index::Due.sk()),
        }
    }

    /// Requires that the attribute still has this value (`None`: that it is still absent).
    pub(crate) fn when(mut self, name: &str, was: Option<AttributeValue>) -> Self {
        let alias = self.alias(name);
        match was {
            Some(value) => {
                self.conditions.push(format!("{alias} = :was_{name}"));
                self.values.insert(format!(":was_{name}"), value);
            }
            None => self
                .conditions
                .push(format!("attribute_not_exists({alias})")),
        }
        self
    }

    pub(crate) fn when_text(self, name: &str, was: &str) -> Self {
        self.when(name, Some(AttributeValue::S(was.to_owned())))
    }

    pub(crate) fn when_number(self, name: &str, was: impl ToString) -> Self {
        self.when(name, Some(AttributeValue::N(was.to_string())))
    }

    /// Requires that the number is greater than this.
    pub(crate) fn when_more(mut self, name: &str, than: i64) -> Self {
        let alias = self.alias(name);
        self.conditions.push(format!("{alias} > :than_{name}"));
        let value = AttributeValue::N(than.to_string());
        self.values.insert(format!(":than_{name}"), value);
        self
    }

    /// Requires that the attribute is not greater than the value that it is set to.
    fn when_at_most_or_absent(mut self, name: &str) -> Self {
        let alias = self.alias(name);
        self.conditions.push(format!(
            "(attribute_not_exists({alias}) OR {alias} <= :{name})"
        ));
        self
    }

    /// Requires that the attribute does not have this value.
    pub(crate) fn unless_text(mut self, name: &str, value: &str) -> Self {
        let alias = self.alias(name);
        self.conditions.push(format!("{alias} <> :not_{name}"));
        let value = AttributeValue::S(value.to_owned());
        self.values.insert(format!(":not_{name}"), value);
        self
    }

    pub(crate) fn condition(&self) -> String {
        self.conditions.join(" AND ")
    }

    /// Returns the update expression, its parts in order: the same change makes the same request,
    /// whatever order the attributes came in.
    pub(crate) fn expression(&self) -> String {
        let clause = |word: &str, parts: &BTreeSet<String>| {
            if parts.is_empty() {
                return String::new();
            }
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            format!("{word} {} ", parts.join(", "))
        };
        let set = clause("SET", &self.sets);
        let remove = clause("REMOVE", &self.removes);
        let add = clause("ADD", &self.adds);
        format!("{set}{remove}{add}").trim_end().to_owned()
    }

    fn in_transaction(self, table: &str) -> Result<TransactWriteItem, StoreError> {
        let update = SdkUpdate::builder()
            .table_name(table)
            .set_key(Some(self.key.to_item()))
            .update_expression(self.expression())
            .condition_expression(self.condition())
            .set_expression_attribute_names(Some(self.names).filter(|names| !names.is_empty()))
            .set_expression_attribute_values(Some(self.values).filter(|values| !values.is_empty()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// Builds the item's deletion on these conditions, instead of an update.
    fn delete_in_transaction(self, table: &str) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder()
            .table_name(table)
            .set_key(Some(self.key.to_item()))
            .condition_expression(self.condition())
            .set_expression_attribute_names(Some(self.names).filter(|names| !names.is_empty()))
            .set_expression_attribute_values(Some(self.values).filter(|values| !values.is_empty()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

/// The format of a stored item, as far as a write must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredFormat {
    /// At most that of this build, or there is no item.
    Known,
    /// That of the next release.
    Next,
}

/// The condition on the item that a put replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// No condition.
    Whatever,
    /// There is none.
    Nothing,
    /// It has this `revision`.
    Revision(u64),
}

impl Replaces {
    /// Returns whether a write of this build was refused only for the format of the stored item,
    /// which is that of the next release.
    pub(crate) fn is_met_in_next_format(self, stored: &Item) -> bool {
        let is_replaced = match self {
            Self::Whatever => true,
            Self::Nothing => false,
            Self::Revision(before) => number(stored, "revision") == Some(before),
        };
        is_replaced && format_of(stored) == Some(FORMAT_MAX)
    }
}

fn number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// The condition of a put that creates an item.
pub(crate) const ABSENT: &str = "attribute_not_exists(PK)";

/// One write of a transaction.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// Creates or replaces an item.
    Put(Encoded, Replaces),
    /// Updates some attributes of an item.
    Update(Update),
    /// Deletes an item on the conditions of the update.
    Delete(Update),
    /// Creates the answer to a request, in place of none or of one that has ended by this time.
    Answer(Encoded, Timestamp),
}

impl Write {
    pub(crate) fn in_transaction(
        &self,
        table: &str,
        stored: StoredFormat,
    ) -> Result<TransactWriteItem, StoreError> {
        match self {
            Self::Put(encoded, Replaces::Nothing) => {
                let put = Put::builder()
                    .table_name(table)
                    .set_item(Some(encoded.item.clone()))
                    .condition_expression(ABSENT)
                    .return_values_on_condition_check_failure(
                        ReturnValuesOnConditionCheckFailure::AllOld,
                    )
                    .build()?;
                Ok(TransactWriteItem::builder().put(put).build())
            }
            Self::Put(encoded, replaces) => {
                Update::replace(encoded, *replaces, stored).in_transaction(table)
            }
            Self::Update(update) => update.clone().in_transaction(table),
            Self::Delete(guard) => guard.clone().delete_in_transaction(table),
            Self::Answer(encoded, now) => {
                let now = AttributeValue::N(now.as_millis().to_string());
                let put = Put::builder()
                    .table_name(table)
                    .set_item(Some(encoded.item.clone()))
                    .condition_expression(format!("{ABSENT} OR #until <= :now"))
                    .expression_attribute_names("#until", "until")
                    .expression_attribute_values(":now", now)
                    .build()?;
                Ok(TransactWriteItem::builder().put(put).build())
            }
        }
    }

    /// Checks that what is put fits into the table.
    pub(crate) fn check_size(&self) -> Result<(), StoreError> {
        match self {
            Self::Put(encoded, _) | Self::Answer(encoded, _) => encoded.check_size(),
            Self::Update(_) | Self::Delete(_) => Ok(()),
        }
    }

    /// Returns whether the write was refused only for the format of the stored item.
    pub(crate) fn is_met_in_next_format(&self, stored: &Item) -> bool {
        match self {
            Self::Put(_, replaces) => replaces.is_met_in_next_format(stored),
            Self::Update(_) | Self::Delete(_) | Self::Answer(..) => false,
        }
    }

    /// Returns the revision that the write gives its item, if the item has one.
    pub(crate) fn revision(&self) -> Option<u64> {
        match self {
            Self::Put(encoded, _) => number(&encoded.item, "revision"),
            Self::Update(_) | Self::Delete(_) | Self::Answer(..) => None,
        }
    }
}
