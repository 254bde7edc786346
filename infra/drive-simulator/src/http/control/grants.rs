//! Orders about grants: who is revoked, who may act as others, how long a token lives.

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::json;

use super::{Outcome, Refused, done, order};
use crate::{Simulator, ids::UserId, state::grants::GrantSubject};

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct GrantOrder {
    user: Option<String>,
    refresh_token: Option<String>,
    service_account: Option<String>,
    revoked: Option<bool>,
    delegated: Option<bool>,
    access_token_seconds: Option<i64>,
}

pub(super) async fn grants(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let asked: GrantOrder = order(request).await?;
    let bad = |text: &str| Refused(text.to_owned());
    if asked
        .access_token_seconds
        .is_some_and(|seconds| seconds < 1)
    {
        return Err(bad("access_token_seconds must be 1 or more"));
    }
    let account = asked.service_account.clone();
    let named: Vec<GrantSubject> = [
        asked
            .user
            .map(|user| GrantSubject::User(UserId::from_email(&user))),
        asked.refresh_token.map(GrantSubject::RefreshToken),
        asked.service_account.map(GrantSubject::ServiceAccount),
    ]
    .into_iter()
    .flatten()
    .collect();
    match (
        named.len(),
        asked.revoked.is_some() || asked.delegated.is_some(),
    ) {
        (0, false) if asked.access_token_seconds.is_some() => {}
        (1, true) if asked.delegated.is_none() || account.is_some() => {}
        _ => {
            return Err(bad(
                "one of user, refresh_token and service_account, with revoked; delegated goes with a service_account",
            ));
        }
    }
    simulator.with(|state| {
        if let Some(seconds) = asked.access_token_seconds {
            state.grants.access_token_seconds = seconds;
        }
        if let (Some(account), Some(delegated)) = (account, asked.delegated) {
            state.set_delegated(account, delegated);
        }
        if let Some(revoked) = asked.revoked {
            for subject in named {
                state.set_revoked(subject, revoked);
            }
        }
    });
    done(&json!({}))
}
