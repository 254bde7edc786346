//! The act of a request, for the audit trail: who asks for what, noted as its handler begins. It is
//! written by the write that carries the request out (`Keyed::store`), so a request that changes
//! nothing has none.

use std::sync::Arc;

use axum::extract::{FromRequestParts as _, RawPathParams};
use axum::http::request::Parts;
use domain::Field;
use lambda_http::request::RequestContext;
use serde_json::{Map, Value, json};
use store::{Actor, PendingAct};

use crate::Deps;
use crate::conflicts::conflict_id;
use crate::http::auth::Caller;

/// The operation of a route: its `operationId` in the description.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperationName(pub(crate) &'static str);

/// Returns the act of a request, for its handler; `None` without a caller, whom the handler
/// refuses.
pub(crate) async fn of(parts: &mut Parts, deps: &Arc<Deps>) -> Option<PendingAct> {
    let caller = Caller::from_request_parts(parts, deps).await.ok()?;
    let what = parts.extensions.get::<OperationName>();
    let what = what.map_or("request", |operation| operation.0);
    let actor = Actor {
        subject: caller.subject.clone(),
        role: Some(caller.role.to_string()),
        address: address(parts),
    };
    let tenant = caller.tenant.clone();
    let act = PendingAct::new(tenant, actor, what, deps.clock.now(), fresh_key(deps));
    if let Ok(params) = RawPathParams::from_request_parts(parts, &()).await {
        for (name, id) in &params {
            match name {
                "conflict" => act.tell(name, conflict(id)),
                name => act.tell(name, id),
            }
        }
    }
    Some(act)
}

/// Returns a random key, for a tenant that has none yet.
pub(crate) fn fresh_key(deps: &Deps) -> [u8; 32] {
    let mut fresh_key = [0; 32];
    for eight in fresh_key.chunks_exact_mut(8) {
        eight.copy_from_slice(&deps.entropy.next().to_be_bytes());
    }
    fresh_key
}

/// Returns the address that API Gateway received the request from.
fn address(parts: &Parts) -> Option<String> {
    match parts.extensions.get::<RequestContext>()? {
        RequestContext::ApiGatewayV2(context) => context.http.source_ip.clone(),
        _ => None,
    }
}

/// Returns a conflict as the trail shows it: by its id or, where that contains a principal, by what
/// the id is made of.
pub(crate) fn conflict(id: &str) -> Value {
    match conflict_id::parse(id) {
        Some(parsed) => match parsed.field {
            Field::Permission(_) => json!({
                "file": parsed.file.as_str(),
                "field": parsed.field.label(),
                "number": parsed.number,
            }),
            Field::Existence
            | Field::Name
            | Field::Description
            | Field::Starred
            | Field::Trashed
            | Field::Parent
            | Field::Property(_)
            | Field::Content => Value::from(id),
        },
        None => Value::from(id),
    }
}

/// Returns the members of a view that differ from those before: with the value before and after,
/// as far as there are any.
pub(crate) fn changes<T: serde::Serialize>(before: Option<&T>, after: &T) -> Value {
    let members = |view: Option<&T>| match view.map(serde_json::to_value) {
        Some(Ok(Value::Object(members))) => members,
        Some(_) | None => Map::new(),
    };
    let (before, after) = (members(before), members(Some(after)));
    let differing = after.into_iter().filter_map(|(name, value)| {
        let old = before.get(&name);
        (old != Some(&value)).then(|| {
            let change = match old {
                Some(old) => json!({"before": old, "after": value}),
                None => json!({"after": value}),
            };
            (name, change)
        })
    });
    Value::Object(differing.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_that_differ_are_changes() {
        let (before, after) = (json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3, "c": null}));
        let wanted = json!({"b": {"before": 2, "after": 3}, "c": {"after": null}});
        assert_eq!(changes(Some(&before), &after), wanted);
        assert_eq!(changes(None, &json!({"a": 1})), json!({"a": {"after": 1}}));
    }
}
