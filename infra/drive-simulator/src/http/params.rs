//! Query parameters: checked against those of the method, and parsed by type.

use std::{fmt::Display, str::FromStr};

use crate::{
    errors::{DriveError, snake_case},
    http::methods::Method,
};

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

    /// Checks that the method has every parameter.
    ///
    /// # Errors
    /// 400 `invalidParameter` for the first parameter that the method lacks.
    pub(crate) fn check(&self, method: &Method) -> Result<(), DriveError> {
        let known = GLOBAL
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
        Ok(())
    }

    /// Checks that the method supports the format in `alt`, which Drive does before it looks at
    /// the credential.
    ///
    /// # Errors
    /// 400 `invalidParameter`.
    pub(crate) fn check_format(&self, method: &Method) -> Result<(), DriveError> {
        let mut known = method.params.split_ascii_whitespace();
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

    /// Returns the last value of a parameter, an empty one too.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        let mut latest = self.0.iter().rev();
        latest
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the last value of a parameter; an empty value counts as absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// Returns a boolean parameter.
    ///
    /// # Errors
    /// 400 `invalid` for anything but `true` and `false`.
    pub(crate) fn flag(&self, name: &'static str, default: bool) -> Result<bool, DriveError> {
        match self.text(name) {
            None => Ok(default),
            Some("true" | "True") => Ok(true),
            Some("false" | "False") => Ok(false),
            Some(other) => Err(DriveError::invalid_typed(name, "TYPE_BOOL", other)),
        }
    }

    /// Returns a numeric parameter.
    ///
    /// # Errors
    /// 400 `invalid` for anything but a number.
    pub(crate) fn number<N: FromStr>(&self, name: &'static str) -> Result<Option<N>, DriveError> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| DriveError::invalid_typed(name, "TYPE_INT32", text))
        };
        self.text(name).map(parse).transpose()
    }

    /// Returns the number of items of a page, `pageSize` or what v2 calls it, or `default` if it is
    /// absent. The caller bounds it: `files.list` refuses what `changes.list` reduces.
    ///
    /// # Errors
    /// 400 `invalidParameter` for a value below 1.
    pub(crate) fn page_size(
        &self,
        name: &'static str,
        default: usize,
    ) -> Result<usize, DriveError> {
        let Some(requested) = self.number::<i64>(name)? else {
            return Ok(default);
        };
        usize::try_from(requested)
            .ok()
            .filter(|size| *size > 0)
            .ok_or_else(|| page_size_out_of_range(name, requested, 1_000))
    }

    /// Returns `pageSize` of a list with at most 100 items per page.
    ///
    /// # Errors
    /// 400 `invalidParameter` for a value outside 1 to 100.
    pub(crate) fn page_size_max_100(&self) -> Result<Option<usize>, DriveError> {
        match self.number::<i64>("pageSize")? {
            Some(requested) if !(1..=100).contains(&requested) => {
                Err(page_size_out_of_range("pageSize", requested, 100))
            }
            size => Ok(size.and_then(|size| usize::try_from(size).ok())),
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

/// 400 for a number of items outside 1 to `max`, at the parameter's name in snake case.
pub(crate) fn page_size_out_of_range(
    parameter: &str,
    requested: impl Display,
    max: u32,
) -> DriveError {
    let message =
        format!("Invalid value '{requested}'. Values must be within the range: [1, {max}]");
    DriveError::invalid_parameter(snake_case(parameter), message)
}
