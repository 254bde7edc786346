//! Query parameters: checked against those of the method, and parsed by type.

use std::{fmt::Display, str::FromStr};

use crate::{errors::DriveError, http::methods::Method};

/// The parameters that all methods share.
const GLOBAL: &str = "$.xgafv access_token alt callback fields key oauth_token prettyPrint \
                      quotaUser uploadType upload_protocol userIp";

/// The decoded query parameters of a call.
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

    /// Checks that the method has every parameter, and that it supports the format in `alt`.
    ///
    /// # Errors
    /// 400 `invalidParameter` for the first parameter that the method lacks.
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

    /// Returns the last value of a parameter; an empty value counts as absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Returns a boolean parameter.
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

    /// Returns a numeric parameter.
    ///
    /// # Errors
    /// 400 `invalidParameter` for anything but a number.
    pub(crate) fn number<N: FromStr>(&self, name: &'static str) -> Result<Option<N>, DriveError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                DriveError::invalid_parameter(name, format!("Invalid integer value: '{text}'."))
            })
        };
        self.text(name).map(parse).transpose()
    }

    /// Returns `pageSize`, or `default` if it is absent.
    ///
    /// # Errors
    /// 400 `invalidParameter` for a value below 1.
    pub(crate) fn page_size(&self, default: usize) -> Result<usize, DriveError> {
        let Some(requested) = self.number::<i64>("pageSize")? else {
            return Ok(default);
        };
        usize::try_from(requested)
            .ok()
            .filter(|size| *size > 0)
            .ok_or_else(|| page_size_out_of_range(requested, 1_000))
    }

    /// Returns `pageSize` of a list with at most 100 items per page.
    ///
    /// # Errors
    /// 400 `invalidParameter` for a value outside 1 to 100.
    pub(crate) fn page_size_max_100(&self) -> Result<Option<usize>, DriveError> {
        match self.number::<usize>("pageSize")? {
            Some(requested) if !(1..=100).contains(&requested) => {
                Err(page_size_out_of_range(requested, 100))
            }
            size => Ok(size),
        }
    }

    /// Returns the values of a comma-separated list.
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

    /// Returns whether `spaces` selects application data only; the simulator has none.
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

fn page_size_out_of_range(requested: impl Display, max: u32) -> DriveError {
    let message =
        format!("Invalid value '{requested}'. Values must be within the range: [1, {max}]");
    DriveError::invalid_parameter("pageSize", message)
}
