//! The encoding of content that is stored at once.
//!
//! Only such content is ever compressed, so a reader can always read all of it into memory, and
//! stored content is never larger than the content itself.

use std::io;

use bytes::Bytes;
use domain::ContentSettings;
use domain::content::{ContentHash, Encoding, compressed_bytes_max};
use zstd::bulk::{Compressor, decompress};

use crate::{ContentHasher, Digest};

/// The largest content that is compressed, in bytes: 8 MiB, the largest that is stored at once.
pub const COMPRESSIBLE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The compression level. Its window is 2 MiB; RFC 9659 allows browsers to reject more than 8 MB.
const LEVEL: i32 = zstd::DEFAULT_COMPRESSION_LEVEL;

/// Content to store at once, encoded.
#[derive(Debug, Clone)]
pub struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) encoding: Encoding,
    /// The SHA-256 of the encoded bytes; equal to the content's only without encoding.
    pub(crate) sha256: ContentHash,
}

impl Encoded {
    /// Content without encoding, with its hash.
    #[must_use]
    pub fn plain(bytes: Bytes, sha256: ContentHash) -> Self {
        Self {
            bytes,
            encoding: Encoding::None,
            sha256,
        }
    }

    /// Encodes content by the settings of a connection: text is compressed if the settings ask for
    /// it and that saves a fifth; all other content is stored without encoding.
    #[must_use]
    pub fn with_settings(
        bytes: Bytes,
        digest: &Digest,
        mime_type: &str,
        settings: &ContentSettings,
    ) -> Self {
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

/// Compresses content to four fifths of its size or less; `None` if it does not fit. The buffer is
/// no larger, so incompressible content is abandoned early.
fn compress(content: &[u8]) -> Option<Bytes> {
    let size_bytes = size(content);
    let most = usize::try_from(compressed_bytes_max(size_bytes)).ok()?;
    if size_bytes > COMPRESSIBLE_BYTES_MAX || most == 0 {
        return None;
    }
    let mut smaller = Vec::with_capacity(most);
    // If the codec fails, the content is stored without encoding.
    let mut codec = Compressor::new(LEVEL).ok()?;
    codec.compress_to_buffer(content, &mut smaller).ok()?;
    // A vector may have more capacity than requested.
    (smaller.len() <= most).then(|| Bytes::from(smaller))
}

/// The reason why stored bytes are not the expected content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidContent {
    /// The expected size is larger than any compressed content.
    #[error("content of {size_bytes} bytes is never compressed")]
    TooLarge {
        /// The expected size.
        size_bytes: u64,
    },
    /// The bytes are not compressed with Zstandard, or decompress to more than the expected size.
    #[error("decompression to the expected size failed")]
    Zstd(#[source] io::Error),
    /// The size is wrong.
    #[error("the size is {actual_bytes} bytes instead of {expected_bytes}")]
    WrongSize {
        /// The expected size.
        expected_bytes: u64,
        /// The actual size.
        actual_bytes: u64,
    },
    /// The hash is wrong.
    #[error("the SHA-256 is {0}, which is wrong")]
    WrongHash(ContentHash),
}

/// Decodes stored bytes into content of this size. Memory use is bounded by the size, and by 8 MiB,
/// whatever the bytes are.
///
/// # Errors
/// [`InvalidContent`] except `WrongHash`: the hash is not verified.
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
                Ok(room) if size_bytes <= COMPRESSIBLE_BYTES_MAX => room,
                Ok(_) | Err(_) => return Err(too_large),
            };
            Bytes::from(decompress(&stored, room).map_err(InvalidContent::Zstd)?)
        }
    };
    match size(&content) {
        actual_bytes if actual_bytes == size_bytes => Ok(content),
        actual_bytes => Err(InvalidContent::WrongSize {
            expected_bytes: size_bytes,
            actual_bytes,
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
        Encoded::with_settings(
            bytes,
            &ContentHasher::of(content),
            mime_type,
            &compressing(),
        )
    }

    /// A Zstandard frame, regardless of its size.
    fn frame(content: &[u8]) -> Bytes {
        Bytes::from(zstd::bulk::compress(content, LEVEL).unwrap())
    }

    /// Incompressible bytes.
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
    fn text_is_compressed_and_hashed_as_stored() {
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
    fn other_types_and_connections_without_compression_are_not_encoded() {
        let text = Bytes::from("the same line again\n".repeat(1_000));
        let digest = ContentHasher::of(&text);
        let picture = encoded(&text, "image/png");
        let off = ContentSettings::default();
        let not_requested = Encoded::with_settings(text.clone(), &digest, "text/plain", &off);
        for put in [picture, not_requested] {
            assert_eq!((put.encoding, put.sha256), (Encoding::None, digest.sha256));
            assert_eq!(put.bytes, text);
        }
    }

    #[test]
    fn content_is_not_encoded_if_that_saves_too_little() {
        let line = "abcdefghijklmnopqrstuvwxyz0123456789".repeat(8);
        for (content, encoding) in [
            (Vec::new(), Encoding::None),
            (b"short".to_vec(), Encoding::None),
            (noise(100_000), Encoding::None),
            // A tenth of the content is compressible, and half of it.
            ([noise(90_000), vec![b' '; 10_000]].concat(), Encoding::None),
            ([noise(50_000), vec![b' '; 50_000]].concat(), Encoding::Zstd),
            (line.into_bytes(), Encoding::Zstd),
        ] {
            let put = encoded(&content, "text/plain");
            assert_eq!(put.encoding, encoding, "{} bytes", content.len());
        }
    }

    #[test]
    fn content_above_eight_mebibytes_is_not_compressed() {
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
    fn a_decompression_bomb_is_rejected_whatever_size_it_declares() {
        let huge = vec![0; 64 * MIB];
        let honest = frame(&huge);
        assert!(honest.len() < 10_000, "{}", honest.len());
        // A streamed frame does not declare its size.
        let silent = Bytes::from(zstd::stream::encode_all(huge.as_slice(), LEVEL).unwrap());
        // Concatenated frames are one content.
        let frames = Bytes::from(frame(&vec![0; MIB]).repeat(64));
        for bomb in [honest, silent, frames] {
            let read = decode(bomb, Encoding::Zstd, 1_000);
            assert!(matches!(read, Err(InvalidContent::Zstd(_))), "{read:?}");
        }
    }

    #[test]
    fn a_wrong_size_is_rejected() {
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
        fn encoded_content_is_not_larger_and_decodes_to_itself(
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
        fn random_bytes_are_not_encoded(
            content in proptest::collection::vec(any::<u8>(), 64..2_000),
        ) {
            prop_assert_eq!(encoded(&content, "text/plain").encoding, Encoding::None);
        }

        #[test]
        fn arbitrary_bytes_never_decode_to_a_wrong_size(
            stored in proptest::collection::vec(any::<u8>(), 0..200),
            size_bytes in 0_u64..1_000,
        ) {
            if let Ok(content) = decode(Bytes::from(stored), Encoding::Zstd, size_bytes) {
                prop_assert_eq!(size(&content), size_bytes);
            }
        }

        #[test]
        fn a_corrupt_frame_never_decodes_to_a_wrong_size(at: prop::sample::Index, bit in 0_u8..8) {
            let content = "a line that is there again and again\n".repeat(50);
            let mut stored = frame(content.as_bytes()).to_vec();
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            let size_bytes = size(content.as_bytes());
            if let Ok(read) = decode(Bytes::from(stored), Encoding::Zstd, size_bytes) {
                prop_assert_eq!(read.len(), content.len());
            }
        }
    }
}
