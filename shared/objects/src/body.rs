//! The streamed body of an object.

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};

use crate::ObjectsError;

/// The bytes of an object or of a range of it. Only the current piece is in memory.
#[derive(Debug)]
pub struct Body {
    stream: ByteStream,
    size_bytes: u64,
    received_bytes: u64,
}

impl Body {
    pub(crate) fn new(stream: ByteStream, size_bytes: u64) -> Self {
        Self {
            stream,
            size_bytes,
            received_bytes: 0,
        }
    }

    pub(crate) fn empty() -> Self {
        Self::new(ByteStream::from_static(b""), 0)
    }

    /// Returns the total number of bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns the next piece, of any size; `None` at the end, once all bytes are received.
    ///
    /// # Errors
    /// [`ObjectsError::Busy`] if the stream failed or ended early: read the missing range.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ObjectsError> {
        match self.stream.next().await {
            Some(Ok(piece)) => {
                let more = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                self.received_bytes = self.received_bytes.saturating_add(more);
                Ok(Some(piece))
            }
            Some(Err(error)) => Err(ObjectsError::Busy(Box::new(error))),
            None if self.received_bytes == self.size_bytes => Ok(None),
            None => Err(ObjectsError::Busy("the stream ended early".into())),
        }
    }

    /// Reads all bytes into memory.
    ///
    /// # Errors
    /// As [`Body::next`]; `Refused` if there are more than `bytes_max`.
    pub async fn collect(mut self, bytes_max: u64) -> Result<Bytes, ObjectsError> {
        if self.size_bytes > bytes_max {
            return Err(ObjectsError::refused("the object exceeds the limit"));
        }
        let mut all = BytesMut::new();
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}
