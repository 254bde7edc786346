//! Commands about OAuth grants: revocation, delegation, and the lifetime of access tokens.

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::json;

use crate::{
    http::control::command::{ControlError, ControlResult, ok, parse},
    ids::UserId,
    simulator::Simulator,
    state::sharing::oauth_grants::GrantSubject,
};

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct GrantCommand {
    user: Option<String>,
    refresh_token: Option<String>,
    service_account: Option<String>,
    revoked: Option<bool>,
    delegated: Option<bool>,
    access_token_seconds: Option<i64>,
}

pub(super) async fn grants(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let command: GrantCommand = parse(request).await?;
    let bad = |text: &str| ControlError(text.to_owned());
    if command
        .access_token_seconds
        .is_some_and(|seconds| seconds < 1)
    {
        return Err(bad("access_token_seconds must be 1 or more"));
    }
    let account = command.service_account.clone();
    let named: Vec<GrantSubject> = [
        command
            .user
            .map(|user| GrantSubject::User(UserId::from_email(&user))),
        command.refresh_token.map(GrantSubject::RefreshToken),
        command.service_account.map(GrantSubject::ServiceAccount),
    ]
    .into_iter()
    .flatten()
    .collect();
    match (
        named.len(),
        command.revoked.is_some() || command.delegated.is_some(),
    ) {
        (0, false) if command.access_token_seconds.is_some() => {}
        (1, true) if command.delegated.is_none() || account.is_some() => {}
        _ => {
            return Err(bad(
                "expected one of user, refresh_token and service_account, with revoked; delegated \
                 requires service_account",
            ));
        }
    }
    simulator.with_state(|state| {
        if let Some(seconds) = command.access_token_seconds {
            state.grants.access_token_seconds = seconds;
        }
        if let (Some(account), Some(delegated)) = (account, command.delegated) {
            state.set_delegated(account, delegated);
        }
        if let Some(revoked) = command.revoked {
            for subject in named {
                state.set_revoked(subject, revoked);
            }
        }
    });
    ok(&json!({}))
}
