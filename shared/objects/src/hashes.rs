//! The hashes of content, computed while it passes; they can be put down half-way and taken up by somebody else.

use domain::content::{ContentHash, Md5Hash};
use md5::Md5;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};

/// The format of a saved state, before anything else in it.
const FORMAT: u8 = 1;

/// Not a state that [`Hashes::save`] gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a saved state of hashes")]
pub struct InvalidState;

/// What some content's bytes come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256.
    pub sha256: ContentHash,
    /// MD5.
    pub md5: Md5Hash,
    /// How many bytes there were.
    pub size_bytes: u64,
}

/// MD5 and SHA-256 of bytes that come one after the other.
#[derive(Debug, Clone, Default)]
pub struct Hashes {
    md5: Md5,
    sha256: Sha256,
    size_bytes: u64,
}

impl Hashes {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digests {
        let mut hashes = Self::new();
        hashes.update(bytes);
        hashes.finish()
    }

    /// SHA-256 alone of these bytes.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> ContentHash {
        ContentHash::from_bytes(Sha256::digest(bytes).into())
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sha256.update(bytes);
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.size_bytes = self.size_bytes.saturating_add(more);
    }

    /// How many bytes were taken.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The digests of all that was taken.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests {
            sha256: ContentHash::from_bytes(self.sha256.finalize().into()),
            md5: Md5Hash::from_bytes(self.md5.finalize().into()),
            size_bytes: self.size_bytes,
        }
    }

    /// The state after what was taken, some 200 bytes. It tells of the content (its last bytes are in it), so it is kept
    /// where content may be kept.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut state = vec![FORMAT];
        state.extend(self.size_bytes.to_be_bytes());
        state.extend(self.md5.serialize());
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
        let (md5, sha256) = rest
            .split_at_checked(size_of::<SerializedState<Md5>>())
            .ok_or(InvalidState)?;
        if *format != FORMAT {
            return Err(InvalidState);
        }
        let md5 = md5.try_into().map_err(|_| InvalidState)?;
        let sha256 = sha256.try_into().map_err(|_| InvalidState)?;
        Ok(Self {
            md5: Md5::deserialize(md5).map_err(|_| InvalidState)?,
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
    fn the_digests_are_those_that_everybody_knows() {
        let empty = Hashes::of(b"");
        assert_eq!(
            empty.sha256.to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(empty.md5.to_string(), "d41d8cd98f00b204e9800998ecf8427e");
        let abc = Hashes::of(b"abc");
        assert_eq!(abc.md5.to_string(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(abc.size_bytes, 3);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let mut hashes = Hashes::new();
        hashes.update(&[7; 100]);
        let state = hashes.save();
        assert!(Hashes::restore(&state).is_ok());
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
            assert_eq!(Hashes::restore(bad).unwrap_err(), InvalidState);
        }
    }

    proptest! {
        #[test]
        fn the_hashes_are_the_same_however_the_bytes_come_and_wherever_they_are_taken_up(
            bytes in proptest::collection::vec(any::<u8>(), 0..1_000),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..6),
        ) {
            let mut cuts: Vec<(usize, bool)> =
                cuts.iter().map(|(at, put_down)| (at.index(bytes.len() + 1), *put_down)).collect();
            cuts.sort_unstable();
            let mut hashes = Hashes::new();
            let mut from = 0;
            for (to, put_down) in cuts {
                hashes.update(&bytes[from..to]);
                from = to;
                if put_down {
                    hashes = Hashes::restore(&hashes.save()).unwrap();
                }
            }
            hashes.update(&bytes[from..]);
            prop_assert_eq!(hashes.finish(), Hashes::of(&bytes));
        }

        #[test]
        fn no_bytes_make_a_state_that_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(hashes) = Hashes::restore(&bytes) {
                let size = hashes.size_bytes();
                prop_assert_eq!(hashes.finish().size_bytes, size);
            }
        }
    }
}
