//! Some content can't be exported or downloaded.
