//! One call of the Drive API, after the checks that all methods share.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, header};

use crate::{errors::DriveError, fields::Selection, http::params::Params, ids::UserId};

/// A call whose caller, parameters and field selection have been checked.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) user: UserId,
    pub(crate) path: BTreeMap<String, String>,
    pub(crate) params: Params,
    pub(crate) selection: Selection,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    /// Returns a variable of the path.
    ///
    /// # Errors
    /// 404: the route has no such variable.
    pub(crate) fn path(&self, name: &str) -> Result<&str, DriveError> {
        self.path
            .get(name)
            .map(String::as_str)
            .ok_or_else(DriveError::no_such_method)
    }

    /// Returns a header if it is text.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns `supportsAllDrives`, or the parameter by its deprecated name.
    ///
    /// # Errors
    /// 400 for a value that is not a boolean.
    pub(crate) fn all_drives(&self) -> Result<bool, DriveError> {
        Ok(self.params.flag("supportsAllDrives", false)?
            || self.params.flag("supportsTeamDrives", false)?)
    }

    /// Checks that items of shared drives are asked for only with support for them.
    ///
    /// # Errors
    /// 403 `supportsTeamDrivesRequired`, 400 for a value that is not a boolean.
    pub(crate) fn check_all_drives_requested(&self) -> Result<(), DriveError> {
        let requested = self.params.flag("includeItemsFromAllDrives", false)?
            || self.params.flag("includeTeamDriveItems", false)?;
        if requested && !self.all_drives()? {
            return Err(DriveError::all_drives_required());
        }
        Ok(())
    }

    /// Returns the host that the call was sent to.
    pub(crate) fn host(&self) -> &str {
        self.header(header::HOST).unwrap_or("127.0.0.1")
    }

    /// Returns `includeItemsFromAllDrives`, which has an effect only together with
    /// `supportsAllDrives`.
    ///
    /// # Errors
    /// 400 for a value that is not a boolean.
    pub(crate) fn include_all_drives(&self) -> Result<bool, DriveError> {
        let requested = self.params.flag("includeItemsFromAllDrives", false)?
            || self.params.flag("includeTeamDriveItems", false)?;
        let supported = self.all_drives()?;
        Ok(requested && supported)
    }
}
