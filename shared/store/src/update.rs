//! One item's conditional update: which attributes are set or removed, and what they must have been.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
    Update as SdkUpdate,
};
use domain::Timestamp;

use crate::StoreError;
use crate::key::{Index, Item, Key, due_place};

/// An update under construction. Attributes are always aliased, so none can meet a reserved word.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) key: Key,
    sets: Vec<String>,
    removes: Vec<String>,
    conditions: Vec<String>,
    pub(crate) names: HashMap<String, String>,
    pub(crate) values: HashMap<String, AttributeValue>,
}

impl Update {
    /// An update of an item that exists.
    pub(crate) fn of(key: Key) -> Self {
        Self {
            key,
            sets: Vec::new(),
            removes: Vec::new(),
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
        self.sets.push(format!("{alias} = :{name}"));
        self.values.insert(format!(":{name}"), value);
        self
    }

    pub(crate) fn set_text(self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, AttributeValue::S(value.into()))
    }

    pub(crate) fn set_number(self, name: &str, value: impl ToString) -> Self {
        self.set(name, AttributeValue::N(value.to_string()))
    }

    /// Adds to a number that is there, whatever it is.
    pub(crate) fn add(mut self, name: &str, difference: i64) -> Self {
        let alias = self.alias(name);
        self.sets.push(format!("{alias} = {alias} + :add_{name}"));
        let value = AttributeValue::N(difference.to_string());
        self.values.insert(format!(":add_{name}"), value);
        self
    }

    pub(crate) fn remove(mut self, name: &str) -> Self {
        let alias = self.alias(name);
        self.removes.push(alias);
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

    /// Only if the attribute still has this value (`None`: if it is still absent).
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

    /// Only if the number is greater than this.
    pub(crate) fn when_more(mut self, name: &str, than: i64) -> Self {
        let alias = self.alias(name);
        self.conditions.push(format!("{alias} > :than_{name}"));
        let value = AttributeValue::N(than.to_string());
        self.values.insert(format!(":than_{name}"), value);
        self
    }

    /// Only if the attribute does not have this value.
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

    pub(crate) fn expression(&self) -> String {
        let clause = |word: &str, parts: &[String]| {
            if parts.is_empty() {
                String::new()
            } else {
                format!("{word} {} ", parts.join(", "))
            }
        };
        clause("SET", &self.sets) + clause("REMOVE", &self.removes).trim_end()
    }

    pub(crate) fn in_transaction(self, table: &str) -> Result<TransactWriteItem, StoreError> {
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

    /// The item's deletion on these conditions, in place of an update.
    pub(crate) fn delete_in_transaction(
        self,
        table: &str,
    ) -> Result<TransactWriteItem, StoreError> {
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

/// What must be true of the item that a put replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// Nothing.
    Whatever,
    /// There is none.
    Nothing,
    /// It has this `revision`.
    Revision(u64),
}

impl Replaces {
    pub(crate) fn condition(self) -> Option<&'static str> {
        match self {
            Self::Whatever => None,
            Self::Nothing => Some("attribute_not_exists(PK)"),
            Self::Revision(_) => Some("#revision = :before"),
        }
    }

    pub(crate) fn names(self) -> Option<HashMap<String, String>> {
        match self {
            Self::Whatever | Self::Nothing => None,
            Self::Revision(_) => Some(HashMap::from([(
                "#revision".to_owned(),
                "revision".to_owned(),
            )])),
        }
    }

    pub(crate) fn values(self) -> Option<Item> {
        match self {
            Self::Whatever | Self::Nothing => None,
            Self::Revision(before) => Some(HashMap::from([(
                ":before".to_owned(),
                AttributeValue::N(before.to_string()),
            )])),
        }
    }

    pub(crate) fn in_transaction(
        self,
        item: Item,
        table: &str,
    ) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder()
            .table_name(table)
            .set_item(Some(item))
            .set_condition_expression(self.condition().map(str::to_owned))
            .set_expression_attribute_names(self.names())
            .set_expression_attribute_values(self.values())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}
