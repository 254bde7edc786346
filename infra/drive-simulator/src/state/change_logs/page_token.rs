//! Page tokens: opaque to clients, bound to the log or list that they page through.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// A position in a change log or in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageToken {
    /// The paged resource: `log:...` or a fingerprint of a search. A token of another scope is
    /// refused.
    pub(crate) scope: String,
    /// The state's epoch: tokens from before a reset are refused.
    pub(crate) epoch: u32,
    /// Everything up to and including this position has been read.
    pub(crate) position: u64,
    /// Distinguishes the tokens of empty pages, which do not move the position.
    pub(crate) salt: u64,
}

impl PageToken {
    /// Returns the wire form.
    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!(
            "{}.{}.{}.{}",
            self.epoch, self.position, self.salt, self.scope
        ))
    }

    /// Parses the text of [`PageToken::encode`]; `None` for any other text.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = plain.splitn(4, '.');
        let epoch = parts.next()?.parse().ok()?;
        let position = parts.next()?.parse().ok()?;
        let salt = parts.next()?.parse().ok()?;
        Some(Self {
            scope: parts.next()?.to_owned(),
            epoch,
            position,
            salt,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_decoded_and_other_text_is_refused() {
        let token = PageToken {
            scope: "log:user:a.b".to_owned(),
            epoch: 3,
            position: 9,
            salt: 1,
        };
        assert_eq!(PageToken::decode(&token.encode()), Some(token));
        for text in ["", "12345", "not a token", "!!"] {
            assert_eq!(PageToken::decode(text), None, "{text}");
        }
    }
}
