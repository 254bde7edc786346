//! The bytes of an object as they come.

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};

use crate::ObjectsError;

/// The bytes of an object, or of a range of it. Nothing but the piece under way is held.
#[derive(Debug)]
pub struct Body {
    stream: ByteStream,
    size_bytes: u64,
    came_bytes: u64,
}

impl Body {
    pub(crate) fn new(stream: ByteStream, size_bytes: u64) -> Self {
        Self {
            stream,
            size_bytes,
            came_bytes: 0,
        }
    }

    pub(crate) fn empty() -> Self {
        Self::new(ByteStream::from_static(b""), 0)
    }

    /// How many bytes will have come at the end.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The next piece, of any size; `None` at the end, where all of them have come.
    ///
    /// # Errors
    /// [`ObjectsError::Busy`] where the stream broke or ended early: read the range that is missing.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ObjectsError> {
        match self.stream.next().await {
            Some(Ok(piece)) => {
                let more = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                self.came_bytes = self.came_bytes.saturating_add(more);
                Ok(Some(piece))
            }
            Some(Err(error)) => Err(ObjectsError::Busy(Box::new(error))),
            None if self.came_bytes == self.size_bytes => Ok(None),
            None => Err(ObjectsError::Busy("the stream ended early".into())),
        }
    }

    /// All bytes, for content that is small enough to be held.
    ///
    /// # Errors
    /// As [`Body::next`]; `Refused` where they are more than `bytes_max`.
    pub async fn collect(mut self, bytes_max: u64) -> Result<Bytes, ObjectsError> {
        if self.size_bytes > bytes_max {
            return Err(ObjectsError::refused("more bytes than can be held"));
        }
        let mut all = BytesMut::new();
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}
