//! The hash of content, computed incrementally; another process can resume it from a saved state.

use domain::content::ContentHash;
use md5::Md5;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};

/// The format of a saved state: its first byte.
const FORMAT: u8 = 1;
/// The format of a saved state that has an MD5 too.
const FORMAT_WITH_MD5: u8 = 2;

/// The bytes are not a state of [`ContentHasher::save`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid hash state")]
pub struct InvalidState;

/// The hash and the size of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// The SHA-256.
    pub sha256: ContentHash,
    /// The size in bytes.
    pub size_bytes: u64,
    /// The MD5, if it was asked for.
    pub md5: Option<[u8; 16]>,
}

impl Digest {
    /// Returns the MD5 in lower-case hexadecimal digits, as Drive states it.
    #[must_use]
    pub fn md5_hex(&self) -> Option<String> {
        let hex = |md5: [u8; 16]| md5.iter().map(|byte| format!("{byte:02x}")).collect();
        self.md5.map(hex)
    }
}

/// An incremental SHA-256. The MD5 is computed beside it only for content of which Drive states
/// nothing better (`md5Checksum`): bytes are then verified by it.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher {
    sha256: Sha256,
    md5: Option<Md5>,
    size_bytes: u64,
}

impl ContentHasher {
    /// A hasher without input.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A hasher without input that computes the MD5 too.
    #[must_use]
    pub fn with_md5() -> Self {
        Self {
            md5: Some(Md5::new()),
            ..Self::default()
        }
    }

    /// Computes the digest of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Self::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Computes the SHA-256 of bytes.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> ContentHash {
        ContentHash::from_bytes(Sha256::digest(bytes).into())
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.size_bytes = self.size_bytes.saturating_add(more);
    }

    /// Returns the number of bytes added.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns the digest of all bytes added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest {
            sha256: ContentHash::from_bytes(self.sha256.finalize().into()),
            size_bytes: self.size_bytes,
            md5: self.md5.map(|md5| md5.finalize().into()),
        }
    }

    /// Returns the current state, about 110 bytes, or 200 with an MD5. It contains the last bytes
    /// of the content, so it may only be stored where content may be.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let format = self.md5.as_ref().map_or(FORMAT, |_| FORMAT_WITH_MD5);
        let mut state = vec![format];
        state.extend(self.size_bytes.to_be_bytes());
        state.extend(self.sha256.serialize());
        if let Some(md5) = &self.md5 {
            state.extend(md5.serialize());
        }
        state
    }

    /// Resumes from a saved state of this build or of another with the same format.
    ///
    /// # Errors
    /// [`InvalidState`]: the content must be read again from its beginning.
    pub fn restore(state: &[u8]) -> Result<Self, InvalidState> {
        let (format, rest) = state.split_first().ok_or(InvalidState)?;
        let (size, rest) = rest.split_first_chunk::<8>().ok_or(InvalidState)?;
        let sha256_bytes = SerializedState::<Sha256>::default().len();
        let (sha256, md5) = rest.split_at_checked(sha256_bytes).ok_or(InvalidState)?;
        let md5 = match *format {
            FORMAT if md5.is_empty() => None,
            FORMAT_WITH_MD5 => {
                let md5: &SerializedState<Md5> = md5.try_into().map_err(|_| InvalidState)?;
                Some(Md5::deserialize(md5).map_err(|_| InvalidState)?)
            }
            _ => return Err(InvalidState),
        };
        let sha256: &SerializedState<Sha256> = sha256.try_into().map_err(|_| InvalidState)?;
        Ok(Self {
            sha256: Sha256::deserialize(sha256).map_err(|_| InvalidState)?,
            md5,
            size_bytes: u64::from_be_bytes(*size),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_sha256() {
        let empty = ContentHasher::of(b"");
        assert_eq!(
            empty.sha256.to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let abc = ContentHasher::of(b"abc");
        assert_eq!(
            abc.sha256.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(abc.size_bytes, 3);
    }

    #[test]
    fn the_md5_is_computed_where_it_is_asked_for_and_resumed() {
        assert_eq!(ContentHasher::of(b"abc").md5_hex(), None);
        let mut hasher = ContentHasher::with_md5();
        hasher.update(b"ab");
        let mut hasher = ContentHasher::restore(&hasher.save()).unwrap();
        hasher.update(b"c");
        let state = hasher.save();
        let digest = hasher.finish();
        let md5 = digest.md5_hex().unwrap();
        assert_eq!(md5, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(digest.sha256, ContentHasher::of(b"abc").sha256);
        assert!(ContentHasher::restore(&state[..state.len() - 1]).is_err());
    }

    #[test]
    fn an_invalid_state_is_rejected() {
        let mut hasher = ContentHasher::new();
        hasher.update(&[7; 100]);
        let state = hasher.save();
        assert!(ContentHasher::restore(&state).is_ok());
        let longer = [state.as_slice(), &[0]].concat();
        let mut other = state.clone();
        other[0] = FORMAT_WITH_MD5 + 1;
        for bad in [
            &[] as &[u8],
            &state[..1],
            &state[..state.len() - 1],
            &longer,
            &other,
        ] {
            assert_eq!(ContentHasher::restore(bad).unwrap_err(), InvalidState);
        }
    }

    proptest! {
        #[test]
        fn the_hash_is_independent_of_pieces_and_of_resuming(
            bytes in proptest::collection::vec(any::<u8>(), 0..1_000),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..6),
        ) {
            let mut cuts: Vec<(usize, bool)> =
                cuts.iter().map(|(at, resumes)| (at.index(bytes.len() + 1), *resumes)).collect();
            cuts.sort_unstable();
            let mut hasher = ContentHasher::new();
            let mut from = 0;
            for (to, resumes) in cuts {
                hasher.update(&bytes[from..to]);
                from = to;
                if resumes {
                    hasher = ContentHasher::restore(&hasher.save()).unwrap();
                }
            }
            hasher.update(&bytes[from..]);
            prop_assert_eq!(hasher.finish(), ContentHasher::of(&bytes));
        }

        #[test]
        fn arbitrary_bytes_never_panic_as_a_state(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Ok(hasher) = ContentHasher::restore(&bytes) {
                let size = hasher.size_bytes();
                prop_assert_eq!(hasher.finish().size_bytes, size);
            }
        }
    }
}
