//! The hash of content, parsed once at the boundary.

use std::fmt;

/// A text that is not a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidHash;

impl fmt::Display for InvalidHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a hash: must be 64 hexadecimal digits")
    }
}

impl std::error::Error for InvalidHash {}

/// The SHA-256 of content: the name under which its bytes are stored, and the value of the field
/// `content`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// Wraps a computed digest.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Parses 64 hexadecimal digits, in either case.
    ///
    /// # Errors
    /// [`InvalidHash`] if the text is anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        let mut bytes = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(InvalidHash);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                (Some(_) | None, Some(_) | None) => return Err(InvalidHash),
            }
        }
        Ok(Self(bytes))
    }

    /// Returns the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Lower-case hexadecimal digits, as Drive writes its checksums.
impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_hash_is_parsed_and_it_round_trips() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let hash = ContentHash::parse(text).unwrap();
        assert_eq!(hash.to_string(), text);
        assert_eq!(ContentHash::parse(&text.to_uppercase()), Ok(hash));
        assert_eq!(ContentHash::from_bytes(*hash.as_bytes()), hash);
        for bad in ["", &text[1..], &format!("{text}0"), &text.replace('e', "g")] {
            assert!(ContentHash::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ContentHash::parse(&"ü".repeat(32)).is_err());
    }
}
