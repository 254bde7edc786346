//! Why a file of a shared drive is not there: deleted, or the whole drive is out of reach.

use domain::pace::CallKind;
use domain::{ConnectionKey, Gone, LogId, Mirror};
use store::{Position, Store, StoreError};

use crate::{GateError, Pass};

/// Tells a file that was deleted from one whose shared drive we are no member of any more: Drive answers
/// 404 to both, and so does the drive itself in the second case. Only a drive that we follow, or have
/// left, is looked at; `mirror` is the file's, as it was last seen.
///
/// # Errors
/// Where the table or Drive did not say.
pub async fn told_apart<E>(
    gone: Gone,
    mirror: &Mirror,
    key: &ConnectionKey,
    pass: &Pass,
    store: &Store,
) -> Result<Gone, E>
where
    E: From<StoreError> + From<GateError>,
{
    let log = mirror.log();
    if gone == Gone::AccessLost || log == LogId::user() {
        return Ok(gone);
    }
    let kept = store.load_log(key, &log).await?;
    let out_of_reach = match kept.map(|log| log.position) {
        None => false,
        Some(Position::Left { .. }) => true,
        Some(Position::New | Position::Listing(_) | Position::Following) => {
            let found = || pass.drive().find_drive(&log);
            pass.ask(CallKind::Read, found).await?.is_none()
        }
    };
    Ok(if out_of_reach { Gone::AccessLost } else { gone })
}
