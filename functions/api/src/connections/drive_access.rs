//! Checks of a connection's access to Drive, so that a mistake in its credentials is reported to
//! the caller who made it.

use domain::{Account, FileId, LogId, OutOfReach, TenantId};
use drive::{Access, DriveClient, DriveError, Kind as DriveKind};
use store::Scope;

use crate::Deps;
use crate::connections::connection_body::CheckedSettings;
use crate::http::Problem;

/// What Drive reports of an accessible connection.
#[derive(Default)]
pub(crate) struct DriveAccess {
    /// The name of the shared drive, if it is one.
    pub(crate) drive_name: Option<String>,
    /// The root of the user's My Drive, if it is not.
    pub(crate) my_drive: Option<FileId>,
    /// The account of the credentials.
    pub(crate) account: Account,
}

/// Calls Drive with the credentials.
pub(crate) async fn check_access(
    deps: &Deps,
    tenant: &TenantId,
    settings: &CheckedSettings,
    scope: &Scope,
    log: &LogId,
) -> Result<DriveAccess, Problem> {
    let access = Access {
        secret_id: settings.secret_id.clone(),
        subject: settings.subject.clone(),
        quota_user: throttle::quota_user(tenant, settings.quota_user.as_deref()),
        within: Some(log.clone()),
    };
    let (drive, account) = match authenticate(deps, &access).await {
        Ok(accepted) => accepted,
        Err(error) => {
            let pointer = invalid_member(deps, &access, &error).await;
            return Err(Problem::credentials(&error, pointer));
        }
    };
    match scope {
        Scope::User => match drive.root_folder_id().await {
            Ok(root) => Ok(DriveAccess {
                my_drive: Some(root),
                account,
                ..DriveAccess::default()
            }),
            // An account without a My Drive has only what is shared with it.
            Err(error) if *error.kind() == DriveKind::NotFound => Ok(DriveAccess {
                account,
                ..DriveAccess::default()
            }),
            Err(error) => Err(Problem::credentials(&error, "/secret")),
        },
        Scope::SharedDrive(_) => {
            let refused = |error| Problem::credentials(&error, "/scope/drive_id");
            let found = drive.get_drive(log).await.map_err(refused)?;
            Ok(DriveAccess {
                drive_name: Some(found.name),
                account,
                ..DriveAccess::default()
            })
        }
    }
}

/// Returns a client and its account if the secret allows this use of it, and Drive accepts the
/// credentials that it has now.
async fn authenticate(deps: &Deps, access: &Access) -> Result<(DriveClient, Account), DriveError> {
    let drive = deps.drives.with_fresh_access(access).await?;
    let account = throttle::identify(&drive).await?;
    let bound = access.within.is_some();
    Ok((drive, Account { bound, ..account }))
}

/// Returns the member that is refused. The secret says which of them it does not allow. Of Google's
/// refusals it is the subject if the account itself is accepted: Google answers `invalid_grant` to
/// an invalid key and to an unknown subject alike.
async fn invalid_member(deps: &Deps, access: &Access, error: &DriveError) -> &'static str {
    match error.source_as::<OutOfReach>() {
        Some(OutOfReach::Subject) => return "/subject",
        Some(OutOfReach::Drive) => return "/scope/drive_id",
        Some(OutOfReach::WholeDrive) => return "/scope",
        None => {}
    }
    let itself = Access {
        subject: None,
        within: None,
        ..access.clone()
    };
    let lost = matches!(error.kind(), DriveKind::AuthLost { .. });
    if lost && access.subject.is_some() && authenticate(deps, &itself).await.is_ok() {
        "/subject"
    } else {
        "/secret"
    }
}
