//! Content that is held whole, in the form in which the bucket holds it.
//!
//! Only what is put at once is ever compressed, so whoever reads it can hold all of it; and no content is ever stored in
//! more bytes than it has.

use std::io;

use bytes::Bytes;
use domain::ContentSettings;
use domain::content::{ContentHash, Encoding, compressed_bytes_max};
use zstd::bulk::{Compressor, decompress};

use crate::{ContentHasher, Digest};

/// The largest content that is compressed, in bytes: 8 MiB, the most that is put at once.
pub const COMPRESSED_OF_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The window that it looks back into is 2 MiB; RFC 9659 lets a browser refuse one of more than 8 MB.
const LEVEL: i32 = zstd::DEFAULT_COMPRESSION_LEVEL;

/// Content to be put at once, in the form in which it is to be stored.
#[derive(Debug, Clone)]
pub struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) encoding: Encoding,
    /// Of the bytes that are put: of the content itself only where it is put as it is.
    pub(crate) sha256: ContentHash,
}

impl Encoded {
    /// Content of this hash, as it is.
    #[must_use]
    pub fn plain(bytes: Bytes, sha256: ContentHash) -> Self {
        Self {
            bytes,
            encoding: Encoding::None,
            sha256,
        }
    }

    /// Content of this type as a connection wants it stored: text compressed, where the connection asks for that and it
    /// saves a fifth; anything else as it is.
    #[must_use]
    pub fn of(bytes: Bytes, digest: &Digest, mime_type: &str, settings: &ContentSettings) -> Self {
        let smaller = match settings.compresses(mime_type) {
            true => compress(&bytes),
            false => None,
        };
        match smaller {
            Some(smaller) => Self {
                sha256: ContentHasher::sha256(&smaller),
                bytes: smaller,
                encoding: Encoding::Zstd,
            },
            None => Self::plain(bytes, digest.sha256),
        }
    }
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The content in four fifths of its bytes or fewer; `None` where it does not fit into them. There is room for no more, so
/// what can't be compressed is given up early.
fn compress(content: &[u8]) -> Option<Bytes> {
    let size_bytes = size(content);
    let most = usize::try_from(compressed_bytes_max(size_bytes)).ok()?;
    if size_bytes > COMPRESSED_OF_BYTES_MAX || most == 0 {
        return None;
    }
    let mut smaller = Vec::with_capacity(most);
    // A codec that fails is one that saves nothing: the content is stored as it is.
    let mut codec = Compressor::new(LEVEL).ok()?;
    codec.compress_to_buffer(content, &mut smaller).ok()?;
    // A vector may have more room than it was asked for.
    (smaller.len() <= most).then(|| Bytes::from(smaller))
}

/// Why bytes are not the content that they are said to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidContent {
    /// It is said to be compressed, and larger than anything that is.
    #[error("nothing of {size_bytes} bytes is stored compressed")]
    TooLarge {
        /// The size that it is said to have.
        size_bytes: u64,
    },
    /// It is not compressed with Zstandard, or comes to more bytes than it is said to have.
    #[error("it can't be decompressed into the bytes that it is said to have")]
    Zstd(#[source] io::Error),
    /// It has another size.
    #[error("it has {found_bytes} bytes, and not {wanted_bytes}")]
    OtherSize {
        /// What it is said to have.
        wanted_bytes: u64,
        /// What it has.
        found_bytes: u64,
    },
    /// It has another SHA-256.
    #[error("its SHA-256 is {0}")]
    OtherSum(ContentHash),
}

/// The content of this size that stored bytes are. However they were made, no more memory is taken than for content of
/// this size, and for no more than 8 MiB.
///
/// # Errors
/// [`InvalidContent`], but for `OtherSum`: nothing is hashed.
pub(crate) fn decode(
    stored: Bytes,
    encoding: Encoding,
    size_bytes: u64,
) -> Result<Bytes, InvalidContent> {
    let content = match encoding {
        Encoding::None => stored,
        Encoding::Zstd => {
            let too_large = InvalidContent::TooLarge { size_bytes };
            let room = match usize::try_from(size_bytes) {
                Ok(room) if size_bytes <= COMPRESSED_OF_BYTES_MAX => room,
                Ok(_) | Err(_) => return Err(too_large),
            };
            Bytes::from(decompress(&stored, room).map_err(InvalidContent::Zstd)?)
        }
    };
    match size(&content) {
        found_bytes if found_bytes == size_bytes => Ok(content),
        found_bytes => Err(InvalidContent::OtherSize {
            wanted_bytes: size_bytes,
            found_bytes,
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn compressing() -> ContentSettings {
        ContentSettings {
            compress: true,
            ..ContentSettings::default()
        }
    }

    fn encoded(content: &[u8], mime_type: &str) -> Encoded {
        let bytes = Bytes::copy_from_slice(content);
        Encoded::of(
            bytes,
            &ContentHasher::of(content),
            mime_type,
            &compressing(),
        )
    }

    /// A frame of Zstandard, whatever it saves.
    fn frame(content: &[u8]) -> Bytes {
        Bytes::from(zstd::bulk::compress(content, LEVEL).unwrap())
    }

    /// Bytes in which nothing can be found again.
    fn noise(size: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(next).take(size).collect()
    }

    #[test]
    fn text_is_put_compressed_with_the_sum_of_what_is_put() {
        let text = "the same line again\n".repeat(1_000);
        let put = encoded(text.as_bytes(), "text/plain");
        assert_eq!(put.encoding, Encoding::Zstd);
        assert!(put.bytes.len() < text.len() / 10);
        assert_eq!(put.sha256, ContentHasher::sha256(&put.bytes));
        let size_bytes = size(text.as_bytes());
        let read = decode(put.bytes, put.encoding, size_bytes).unwrap();
        assert_eq!(read, text.as_bytes());
    }

    #[test]
    fn what_is_no_text_and_what_nobody_asks_for_is_put_as_it_is() {
        let text = Bytes::from("the same line again\n".repeat(1_000));
        let digest = ContentHasher::of(&text);
        let picture = encoded(&text, "image/png");
        let off = ContentSettings::default();
        let unasked = Encoded::of(text.clone(), &digest, "text/plain", &off);
        for put in [picture, unasked] {
            assert_eq!((put.encoding, put.sha256), (Encoding::None, digest.sha256));
            assert_eq!(put.bytes, text);
        }
    }

    #[test]
    fn what_saves_too_little_is_put_as_it_is() {
        let line = "abcdefghijklmnopqrstuvwxyz0123456789".repeat(8);
        for (content, encoding) in [
            (Vec::new(), Encoding::None),
            (b"short".to_vec(), Encoding::None),
            (noise(100_000), Encoding::None),
            // What is found again is a tenth of it, and a half.
            ([noise(90_000), vec![b' '; 10_000]].concat(), Encoding::None),
            ([noise(50_000), vec![b' '; 50_000]].concat(), Encoding::Zstd),
            (line.into_bytes(), Encoding::Zstd),
        ] {
            let put = encoded(&content, "text/plain");
            assert_eq!(put.encoding, encoding, "{} bytes", content.len());
        }
    }

    #[test]
    fn nothing_is_compressed_that_could_not_be_held_again() {
        let most = vec![b' '; 8 * MIB];
        assert_eq!(encoded(&most, "text/plain").encoding, Encoding::Zstd);
        let more = vec![b' '; 8 * MIB + 1];
        assert_eq!(encoded(&more, "text/plain").encoding, Encoding::None);
        let read = decode(frame(&more), Encoding::Zstd, size(&more));
        assert!(
            matches!(read, Err(InvalidContent::TooLarge { .. })),
            "{read:?}"
        );
        assert_eq!(
            decode(Bytes::from(more.clone()), Encoding::None, size(&more)).unwrap(),
            more
        );
    }

    #[test]
    fn a_bomb_is_refused_whatever_it_says_of_its_size() {
        let huge = vec![0; 64 * MIB];
        let honest = frame(&huge);
        assert!(honest.len() < 10_000, "{}", honest.len());
        // A frame that was streamed does not say what it comes to.
        let silent = Bytes::from(zstd::stream::encode_all(huge.as_slice(), LEVEL).unwrap());
        // Frames one after the other are one content.
        let frames = Bytes::from(frame(&vec![0; MIB]).repeat(64));
        for bomb in [honest, silent, frames] {
            let read = decode(bomb, Encoding::Zstd, 1_000);
            assert!(matches!(read, Err(InvalidContent::Zstd(_))), "{read:?}");
        }
    }

    #[test]
    fn another_size_is_refused() {
        let content = b"some content, some content, some content".as_slice();
        for wanted in [0, 1, size(content) - 1, size(content) + 1, 8 << 20] {
            for (stored, encoding) in [
                (frame(content), Encoding::Zstd),
                (Bytes::from_static(content), Encoding::None),
            ] {
                assert!(decode(stored, encoding, wanted).is_err(), "{wanted}");
            }
        }
        let cut = frame(content).slice(..20);
        assert!(decode(cut, Encoding::Zstd, size(content)).is_err());
        let nothing = Bytes::new();
        assert!(decode(nothing, Encoding::Zstd, 1).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_takes_no_more_and_decodes_to_itself(
            words in proptest::collection::vec("[a-z ]{0,12}", 0..400),
            tail in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let content = [words.concat().into_bytes(), tail].concat();
            let put = encoded(&content, "application/json");
            let (size_bytes, stored_bytes) = (size(&content), size(&put.bytes));
            match put.encoding {
                Encoding::None => prop_assert_eq!(stored_bytes, size_bytes),
                Encoding::Zstd => prop_assert!(stored_bytes * 5 <= size_bytes * 4),
            }
            prop_assert_eq!(put.sha256, ContentHasher::sha256(&put.bytes));
            prop_assert_eq!(decode(put.bytes, put.encoding, size_bytes).unwrap(), content);
        }

        #[test]
        fn random_bytes_are_put_as_they_are(content in proptest::collection::vec(any::<u8>(), 64..2_000)) {
            prop_assert_eq!(encoded(&content, "text/plain").encoding, Encoding::None);
        }

        #[test]
        fn no_bytes_decode_to_another_size(
            stored in proptest::collection::vec(any::<u8>(), 0..200),
            size_bytes in 0_u64..1_000,
        ) {
            if let Ok(content) = decode(Bytes::from(stored), Encoding::Zstd, size_bytes) {
                prop_assert_eq!(size(&content), size_bytes);
            }
        }

        #[test]
        fn a_spoilt_frame_gives_no_other_size(at: prop::sample::Index, bit in 0_u8..8) {
            let content = "a line that is there again and again\n".repeat(50);
            let mut stored = frame(content.as_bytes()).to_vec();
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            if let Ok(read) = decode(Bytes::from(stored), Encoding::Zstd, size(content.as_bytes())) {
                prop_assert_eq!(read.len(), content.len());
            }
        }
    }
}
