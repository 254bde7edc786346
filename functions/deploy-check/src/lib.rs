//! Lets a new version of a function check itself, before a deployment gives it traffic.
//!
//! CodeDeploy invokes this function before it moves an alias, and moves it only if the answer is
//! `Succeeded`. The deployment says which version the alias is to name. That version is invoked,
//! and tries what its work needs with its own role and settings.

mod signed;

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::{Clock, Settings, VersionCheck, telemetry};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use self::signed::{AwsError, SignedCalls};

/// The time limit of a check: the start of a function, and a few calls of AWS.
const CHECK_TIMEOUT: Duration = Duration::from_secs(25);

/// What CodeDeploy sends to a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HookEvent {
    /// The deployment.
    pub deployment_id: String,
    /// This execution of the hook, which the answer names.
    pub lifecycle_event_hook_execution_id: String,
}

/// A version of a function.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NewVersion {
    /// The function's name.
    pub name: String,
    /// The version's number.
    pub target_version: String,
}

/// What the function works with.
pub struct Deps {
    /// The calls of AWS.
    pub aws: SignedCalls,
}

impl Deps {
    /// Reads the settings.
    ///
    /// # Errors
    /// Names the setting that is missing, or says that TLS can't be set up.
    pub fn load(settings: &Settings) -> Result<Self, AwsError> {
        Ok(Self {
            aws: SignedCalls::load(settings, Clock::system(), CHECK_TIMEOUT)?,
        })
    }
}

/// Checks the new version, and tells CodeDeploy whether traffic may move.
///
/// # Errors
/// [`AwsError`] if CodeDeploy does not take the answer. It then waits for an hour, and moves none.
pub async fn handle(event: &HookEvent, deps: &Deps) -> Result<(), AwsError> {
    let deployment = &event.deployment_id;
    let status = match check(deployment, deps).await {
        Ok(()) => "Succeeded",
        Err(reason) => {
            tracing::error!(
                deployment,
                reason,
                metric = "deploy_check_failed",
                "a new version does not get traffic"
            );
            "Failed"
        }
    };
    tracing::info!(deployment, status, "checked");
    let answer = json!({
        "deploymentId": deployment,
        "lifecycleEventHookExecutionId": event.lifecycle_event_hook_execution_id,
        "status": status,
    });
    deps.aws.put_hook_status(&answer).await
}

/// Lets the versions that a deployment names check themselves.
async fn check(deployment: &str, deps: &Deps) -> Result<(), String> {
    let chain = |error: AwsError| telemetry::chain(&error);
    let content = deps.aws.deployed(deployment).await.map_err(chain)?;
    for version in new_versions(&content)? {
        let order = json!({"version_check": true});
        let answer = deps.aws.invoke(&version, &order).await.map_err(chain)?;
        let NewVersion {
            name,
            target_version,
        } = version;
        let found: VersionCheck = serde_json::from_value(answer)
            .map_err(|_| format!("{name}:{target_version} answers something else"))?;
        let missing = found.missing();
        if !missing.is_empty() {
            return Err(format!("{name}:{target_version}: {}", missing.join("; ")));
        }
        tracing::info!(function = name, version = target_version, "sound");
    }
    Ok(())
}

/// Reads what a deployment does: an AppSpec with one function for each resource.
fn new_versions(content: &str) -> Result<Vec<NewVersion>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct AppSpec {
        resources: Vec<BTreeMap<String, Resource>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Resource {
        properties: NewVersion,
    }
    let spec: AppSpec = serde_json::from_str(content)
        .map_err(|error| format!("the deployment's AppSpec cannot be read: {error}"))?;
    let versions = spec.resources.into_iter().flatten();
    let versions: Vec<_> = versions.map(|(_, resource)| resource.properties).collect();
    match versions.is_empty() {
        true => Err("the deployment names no version".to_owned()),
        false => Ok(versions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deployment_names_the_new_version() {
        let content = r#"{"version": 0.0, "Resources": [{"Api": {
            "Type": "AWS::Lambda::Function",
            "Properties": {"Name": "drivesync-Api-1", "Alias": "live", "CurrentVersion": "6",
                "TargetVersion": "7"}}}], "Hooks": [{"BeforeAllowTraffic": "CodeDeployHook_x"}]}"#;
        let wanted = NewVersion {
            name: "drivesync-Api-1".to_owned(),
            target_version: "7".to_owned(),
        };
        assert_eq!(new_versions(content), Ok(vec![wanted]));
        assert!(new_versions(r#"{"Resources": []}"#).is_err());
        assert!(new_versions("version: 0.0").is_err());
    }

    #[test]
    fn the_event_of_codedeploy_is_read() {
        let event = include_str!("../../../events/deploy-check/before-traffic.json");
        let event: HookEvent = serde_json::from_str(event).unwrap();
        assert_eq!(event.deployment_id, "d-EXAMPLE1A");
    }
}
