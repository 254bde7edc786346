//! Content: which bytes are stored, under which key, for whom; and when they may go.
//!
//! A file's content is one more field of the merge, whose value is a hash. What that value *wants* stands in the file's
//! record; what is *stored* is said by [`StoredVersion`]s, which are written only once their bytes are in the bucket and
//! verified. So metadata never points at something absent. The bytes themselves are [`StoredObject`]s: one for each hash
//! of a tenant, however many versions of however many files name it, and never shared with another tenant.

mod encoding;
mod hash;
mod key;
mod next;
mod object;
mod state;

pub use encoding::{Encoding, Place, compressed_bytes_max, is_text};
pub use hash::{ContentHash, InvalidHash};
pub use key::{InvalidObjectKey, ObjectKey};
pub use next::{Next, Outlook};
pub use object::{HOLD_MILLIS, ObjectState, Origin, StoredObject, StoredVersion};
pub use state::{ContentState, Dealt, Download, Progress, Upload, UploadId};
