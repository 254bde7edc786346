//! The hash of content, computed while it passes; it can be put down half-way and taken up by somebody else.

use domain::content::ContentHash;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};

/// The format of a saved state, before anything else in it.
const FORMAT: u8 = 1;

/// Not a state that [`ContentHasher::save`] gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a saved state of a hash")]
pub struct InvalidState;

/// What some content's bytes come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// SHA-256.
    pub sha256: ContentHash,
    /// How many bytes there were.
    pub size_bytes: u64,
}

/// SHA-256 of bytes that come one after the other. Drive tells it of everything that has bytes (`sha256Checksum`), so
/// nothing weaker is computed beside it.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher {
    sha256: Sha256,
    size_bytes: u64,
}

impl ContentHasher {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Self::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// SHA-256 alone of these bytes.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> ContentHash {
        ContentHash::from_bytes(Sha256::digest(bytes).into())
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.size_bytes = self.size_bytes.saturating_add(more);
    }

    /// How many bytes were taken.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The digest of all that was taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest {
            sha256: ContentHash::from_bytes(self.sha256.finalize().into()),
            size_bytes: self.size_bytes,
        }
    }

    /// The state after what was taken, some 110 bytes. It tells of the content (its last bytes are in it), so it is kept
    /// where content may be kept.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut state = vec![FORMAT];
        state.extend(self.size_bytes.to_be_bytes());
        state.extend(self.sha256.serialize());
        state
    }

    /// Goes on from a state that was saved, by this build or by another with the same format.
    ///
    /// # Errors
    /// [`InvalidState`]: read the content again from its beginning.
    pub fn restore(state: &[u8]) -> Result<Self, InvalidState> {
        let (format, rest) = state.split_first().ok_or(InvalidState)?;
        let (size, rest) = rest.split_first_chunk::<8>().ok_or(InvalidState)?;
        if *format != FORMAT {
            return Err(InvalidState);
        }
        let sha256: &SerializedState<Sha256> = rest.try_into().map_err(|_| InvalidState)?;
        Ok(Self {
            sha256: Sha256::deserialize(sha256).map_err(|_| InvalidState)?,
            size_bytes: u64::from_be_bytes(*size),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_the_one_that_everybody_knows() {
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
    fn what_is_no_state_is_refused() {
        let mut hasher = ContentHasher::new();
        hasher.update(&[7; 100]);
        let state = hasher.save();
        assert!(ContentHasher::restore(&state).is_ok());
        let longer = [state.as_slice(), &[0]].concat();
        let mut other = state.clone();
        other[0] = FORMAT + 1;
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
        fn the_hash_is_the_same_however_the_bytes_come_and_wherever_they_are_taken_up(
            bytes in proptest::collection::vec(any::<u8>(), 0..1_000),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..6),
        ) {
            let mut cuts: Vec<(usize, bool)> =
                cuts.iter().map(|(at, put_down)| (at.index(bytes.len() + 1), *put_down)).collect();
            cuts.sort_unstable();
            let mut hasher = ContentHasher::new();
            let mut from = 0;
            for (to, put_down) in cuts {
                hasher.update(&bytes[from..to]);
                from = to;
                if put_down {
                    hasher = ContentHasher::restore(&hasher.save()).unwrap();
                }
            }
            hasher.update(&bytes[from..]);
            prop_assert_eq!(hasher.finish(), ContentHasher::of(&bytes));
        }

        #[test]
        fn no_bytes_make_a_state_that_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(hasher) = ContentHasher::restore(&bytes) {
                let size = hasher.size_bytes();
                prop_assert_eq!(hasher.finish().size_bytes, size);
            }
        }
    }
}
