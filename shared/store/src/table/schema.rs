//! The table itself, for tests and for one machine. In AWS, `infra/data.yaml` creates it.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};

use crate::StoreError;
use crate::table::key::Index;

/// Creates the table with its indexes, stream and time to live. Does nothing if it exists.
///
/// # Errors
/// [`StoreError`]
pub async fn create_table(client: &Client, name: &str) -> Result<(), StoreError> {
    let mut call = client.create_table().table_name(name);
    let own = [("PK", KeyType::Hash), ("SK", KeyType::Range)];
    for (attribute, kind) in &own {
        call = call.key_schema(schema(attribute, kind)?);
        call = call.attribute_definitions(text(attribute)?);
    }
    for index in Index::ALL {
        for attribute in [index.pk(), index.sk()] {
            call = call.attribute_definitions(text(attribute)?);
        }
        let keys_only = Projection::builder().projection_type(ProjectionType::KeysOnly);
        let index = GlobalSecondaryIndex::builder()
            .index_name(index.name())
            .key_schema(schema(index.pk(), &KeyType::Hash)?)
            .key_schema(schema(index.sk(), &KeyType::Range)?)
            .projection(keys_only.build());
        call = call.global_secondary_indexes(index.build()?);
    }
    let stream = StreamSpecification::builder()
        .stream_enabled(true)
        .stream_view_type(StreamViewType::NewAndOldImages)
        .build()?;
    let created = call
        .billing_mode(BillingMode::PayPerRequest)
        .stream_specification(stream)
        .send()
        .await;
    if let Err(error) = created {
        let exists = matches!(
            error.as_service_error(),
            Some(CreateTableError::ResourceInUseException(_))
        );
        if !exists {
            return Err(error.into());
        }
    }
    until_active(client, name).await?;
    expire(client, name).await
}

fn schema(attribute: &str, kind: &KeyType) -> Result<KeySchemaElement, StoreError> {
    let element = KeySchemaElement::builder().attribute_name(attribute);
    Ok(element.key_type(kind.clone()).build()?)
}

fn text(attribute: &str) -> Result<AttributeDefinition, StoreError> {
    let definition = AttributeDefinition::builder().attribute_name(attribute);
    Ok(definition.attribute_type(ScalarAttributeType::S).build()?)
}

/// Waits until the table is active: immediate on one machine, some seconds in AWS.
async fn until_active(client: &Client, name: &str) -> Result<(), StoreError> {
    for _ in 0..120 {
        let table = client.describe_table().table_name(name).send().await?.table;
        if table.and_then(|table| table.table_status) == Some(TableStatus::Active) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(StoreError::busy("the table is still being created"))
}

/// Turns the time to live on, unless it is on (DynamoDB refuses to do it twice).
async fn expire(client: &Client, name: &str) -> Result<(), StoreError> {
    let now = client
        .describe_time_to_live()
        .table_name(name)
        .send()
        .await?;
    let status = now
        .time_to_live_description
        .and_then(|ttl| ttl.time_to_live_status);
    if matches!(
        status,
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
    ) {
        return Ok(());
    }
    let expires = TimeToLiveSpecification::builder().enabled(true);
    let expires = expires.attribute_name("expires").build()?;
    let call = client.update_time_to_live().table_name(name);
    call.time_to_live_specification(expires).send().await?;
    Ok(())
}
