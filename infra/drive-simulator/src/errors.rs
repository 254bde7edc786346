//! Errors in Google's format.

pub(crate) mod reason_texts;

use std::borrow::Cow;

use serde_json::{Value, json};

/// The part of the request that an error is about: `errors[0].locationType` and
/// `errors[0].location`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A query parameter.
    Parameter(Cow<'static, str>),
    /// A request header.
    Header(Cow<'static, str>),
}

/// An error of the Drive API: one status, one machine-readable reason.
///
/// Clients must decide by `reason`, since 403 alone may be a throttle, a missing permission or a
/// limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {reason}: {message}")]
pub struct DriveError {
    /// The HTTP status.
    pub status: u16,
    /// `errors[0].reason`.
    pub reason: Cow<'static, str>,
    /// The human-readable message.
    pub message: String,
    /// The name of the canonical code, `error.status`, which Drive sends with refusals of
    /// credentials and of typed values only.
    pub status_name: Option<&'static str>,
    /// The parameter or header that the error is about, if it is about one.
    pub location: Option<Location>,
}

/// Returns a parameter's name as Google's refusals of its value have it.
pub(crate) fn snake_case(parameter: &str) -> String {
    let mut name = String::new();
    for letter in parameter.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

impl DriveError {
    /// Creates an error without a location.
    pub(crate) fn new(
        status: u16,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            reason: reason.into(),
            message: message.into(),
            status_name: None,
            location: None,
        }
    }

    fn named(self, status_name: &'static str) -> Self {
        Self {
            status_name: Some(status_name),
            ..self
        }
    }

    /// Sets the location to a query parameter or, as Google does, to a member of the body.
    pub(crate) fn at(self, parameter: impl Into<Cow<'static, str>>) -> Self {
        Self {
            location: Some(Location::Parameter(parameter.into())),
            ..self
        }
    }

    fn at_header(self, header: &'static str) -> Self {
        Self {
            location: Some(Location::Header(Cow::Borrowed(header))),
            ..self
        }
    }

    /// 404 `notFound`: deleted, never existed, not accessible, or an item of a shared drive without
    /// `supportsAllDrives`.
    pub(crate) fn file_not_found(id: &str) -> Self {
        Self::new(404, "notFound", format!("File not found: {id}.")).at("fileId")
    }

    /// 404 `notFound` for a shared drive.
    pub(crate) fn drive_not_found(id: &str) -> Self {
        Self::new(404, "notFound", format!("Shared drive not found: {id}")).at("driveId")
    }

    /// 404 `notFound` for a label. Google documents no reason.
    pub(crate) fn label_not_found(id: &str) -> Self {
        Self::new(404, "notFound", format!("Label not found: {id}.")).at("labelId")
    }

    /// 404 for a path that is no method's.
    pub(crate) fn no_such_method() -> Self {
        Self::new(404, "notFound", "Not Found")
    }

    /// 400 `invalid`: the value cannot be parsed (`q`, `pageToken`).
    pub(crate) fn invalid(parameter: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "invalid", "Invalid Value").at(parameter)
    }

    /// 400 `invalid` with a specific message.
    pub(crate) fn invalid_because(
        parameter: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(400, "invalid", message).at(parameter)
    }

    /// 400 `invalidParameter`: the value is well-formed but not allowed.
    pub(crate) fn invalid_parameter(
        parameter: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(400, "invalidParameter", message).at(parameter)
    }

    /// 400 `required`.
    pub(crate) fn required(parameter: &'static str) -> Self {
        Self::new(400, "required", format!("Required parameter: {parameter}")).at(parameter)
    }

    /// 400 `badRequest`.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "badRequest", message)
    }

    /// 400 `invalid`: a typed value that cannot be parsed, by the parameter's name in snake case.
    pub(crate) fn invalid_typed(parameter: &str, kind: &str, value: &str) -> Self {
        let field = snake_case(parameter);
        let message = format!("Invalid value at '{field}' ({kind}), \"{value}\"");
        Self::new(400, "invalid", message).named("INVALID_ARGUMENT")
    }

    /// 403 `supportsTeamDrivesRequired`: items of shared drives were asked for without support for
    /// them.
    pub(crate) fn all_drives_required() -> Self {
        let message = "The supportsAllDrives parameter was not set to true.";
        Self::new(403, "supportsTeamDrivesRequired", message)
    }

    /// The request carries no bearer token: 403 for a GET, 401 for anything else.
    pub(crate) fn login_required(get: bool) -> Self {
        if get {
            let message = "Method doesn't allow unregistered callers (callers without established \
                           identity). Please use API Key or other form of API consumer identity to \
                           call this API.";
            Self::new(403, "forbidden", message).named("PERMISSION_DENIED")
        } else {
            Self::new(401, "required", "Login Required.")
                .at_header("Authorization")
                .named("UNAUTHENTICATED")
        }
    }

    /// 401 `authError`: an unknown or expired bearer token.
    pub(crate) fn invalid_credentials() -> Self {
        Self::new(401, "authError", "Invalid Credentials")
            .at_header("Authorization")
            .named("UNAUTHENTICATED")
    }

    /// 302: a download inside a batch, which has to be made at the `Location` of the response.
    pub(crate) fn download_redirect() -> Self {
        Self::new(302, "backendError", "Unknown Error.").named("UNKNOWN")
    }

    /// 403 `insufficientFilePermissions`.
    pub(crate) fn insufficient_permissions(id: &str) -> Self {
        Self::new(
            403,
            "insufficientFilePermissions",
            format!("The user does not have sufficient permissions for file {id}."),
        )
    }

    /// 403 `fieldNotWritable`.
    pub(crate) fn not_writable(message: &'static str) -> Self {
        Self::new(403, "fieldNotWritable", message)
    }

    /// 412 `conditionNotMet`: the `If-Match` of a v2 call does not match the file's etag.
    pub(crate) fn condition_not_met() -> Self {
        Self::new(412, "conditionNotMet", "Precondition Failed").at_header("If-Match")
    }

    /// 501: a method of Google Drive that the simulator omits.
    pub(crate) fn not_implemented(method: &str) -> Self {
        Self::new(
            501,
            "notImplemented",
            format!("The simulator does not implement {method}."),
        )
    }

    /// `errors[0].domain`: `usageLimits` for throttles that Google counts as usage, `global` for
    /// all others.
    pub(crate) fn domain(&self) -> &'static str {
        const USAGE: [&str; 5] = [
            "rateLimitExceeded",
            "userRateLimitExceeded",
            "dailyLimitExceeded",
            "quotaExceeded",
            "subscriptionRateLimitExceeded",
        ];
        if USAGE.contains(&self.reason.as_ref()) {
            "usageLimits"
        } else {
            "global"
        }
    }

    /// Returns the body as Google sends it.
    pub(crate) fn body(&self) -> Value {
        let mut detail =
            json!({"domain": self.domain(), "reason": self.reason, "message": self.message});
        if let (Some(location), Some(members)) = (&self.location, detail.as_object_mut()) {
            let (kind, name) = match location {
                Location::Parameter(name) => ("parameter", name),
                Location::Header(name) => ("header", name),
            };
            members.insert("locationType".to_owned(), json!(kind));
            members.insert("location".to_owned(), json!(name));
        }
        let mut error = json!({
            "errors": [detail], "code": self.status, "message": self.message,
        });
        if let (Some(name), Some(members)) = (self.status_name, error.as_object_mut()) {
            members.insert("status".to_owned(), json!(name));
        }
        json!({"error": error})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_googles_format() {
        assert_eq!(
            DriveError::condition_not_met().body(),
            json!({
                "error": {
                    "errors": [
                        {
                            "domain": "global", "reason": "conditionNotMet",
                            "message": "Precondition Failed", "locationType": "header",
                            "location": "If-Match",
                        },
                    ],
                    "code": 412, "message": "Precondition Failed",
                },
            })
        );
        assert_eq!(
            DriveError::new(403, "userRateLimitExceeded", "x").domain(),
            "usageLimits"
        );
        assert_eq!(
            DriveError::new(403, "sharingRateLimitExceeded", "x").domain(),
            "global"
        );
    }
}
