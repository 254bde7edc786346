//! Query parameters: only those that a method has, and typed as it has them.

use std::str::FromStr;

use crate::{errors::DriveError, http::methods::Method};

/// The parameters that every method has.
const GLOBAL: &str = "$.xgafv access_token alt callback fields key oauth_token prettyPrint quotaUser uploadType upload_protocol userIp";

/// The query parameters of a call, decoded.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Decodes a query string.
    pub(crate) fn parse(query: &str) -> Self {
        Self(
            url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// Checks that the method has every parameter, and that `alt` is one that it answers in.
    ///
    /// # Errors
    /// 400 `invalidParameter` for the first one that it does not have.
    pub(crate) fn check(&self, method: &Method) -> Result<(), DriveError> {
        let mut known = GLOBAL
            .split_ascii_whitespace()
            .chain(method.params.split_ascii_whitespace());
        for (name, _) in &self.0 {
            if !known.clone().any(|known| known == name) {
                return Err(DriveError::invalid_parameter(
                    name.clone(),
                    format!("Unknown parameter: {name}"),
                ));
            }
        }
        let media = method.media || known.any(|known| known == "acknowledgeAbuse");
        match self.text("alt") {
            None | Some("json") => Ok(()),
            Some("media") if media => Ok(()),
            Some(other) => Err(DriveError::invalid_parameter(
                "alt",
                format!("Invalid value '{other}'. Values must match: json"),
            )),
        }
    }

    /// The last value of a parameter; an empty one counts as absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A boolean.
    ///
    /// # Errors
    /// 400 `invalidParameter` for anything but `true` and `false`.
    pub(crate) fn flag(&self, name: &'static str, default: bool) -> Result<bool, DriveError> {
        match self.text(name) {
            None => Ok(default),
            Some("true" | "True") => Ok(true),
            Some("false" | "False") => Ok(false),
            Some(other) => Err(DriveError::invalid_parameter(
                name,
                format!("Invalid boolean value: '{other}'."),
            )),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// 400 `invalidParameter` for anything else.
    pub(crate) fn number<N: FromStr>(&self, name: &'static str) -> Result<Option<N>, DriveError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                DriveError::invalid_parameter(name, format!("Invalid integer value: '{text}'."))
            })
        };
        self.text(name).map(parse).transpose()
    }

    /// The values of a comma-separated list.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self
            .text(name)
            .unwrap_or_default()
            .split(',')
            .map(str::trim);
        values
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// `spaces`: whether the caller asked for application data only, of which there is none.
    ///
    /// # Errors
    /// 400 `invalidParameter` for a space that Drive does not have.
    pub(crate) fn only_app_data(&self) -> Result<bool, DriveError> {
        let spaces = self.list("spaces");
        if let Some(other) = spaces
            .iter()
            .find(|space| !matches!(space.as_str(), "drive" | "appDataFolder" | "photos"))
        {
            return Err(DriveError::invalid_parameter(
                "spaces",
                format!("Invalid value '{other}'."),
            ));
        }
        Ok(!spaces.is_empty() && !spaces.iter().any(|space| space == "drive"))
    }
}
