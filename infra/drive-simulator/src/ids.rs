//! Identifier types, and the generation of ids in Google's format.

use std::{borrow::Borrow, fmt, sync::Arc};

/// Defines an identifier over shared text, cheap to clone.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) struct $name(Arc<str>);

        impl $name {
            /// Returns the identifier in its wire form.
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }
    };
}

identifier!(
    /// The id of a Drive item: a file, a folder or a shortcut.
    FileId
);
identifier!(
    /// An account, by the short name of `Authorization: Bearer user:NAME`.
    UserId
);
identifier!(
    /// The id of a shared drive. Its root folder has the same id, as in Google Drive.
    DriveId
);

impl UserId {
    /// Returns the account's email address: `NAME@example.com`, or the name itself if it is an
    /// address.
    pub(crate) fn email(&self) -> String {
        if self.as_str().contains('@') {
            self.as_str().to_owned()
        } else {
            format!("{self}@example.com")
        }
    }

    /// Returns the account with this address or name: the reverse of [`UserId::email`].
    pub(crate) fn from_email(text: &str) -> Self {
        Self::from(text.strip_suffix("@example.com").unwrap_or(text))
    }

    /// Returns the account's permission id: 20 digits derived from the name alone (FNV-1a).
    pub(crate) fn permission_id(&self) -> String {
        let hash = self
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        format!("{hash:020}")
    }
}

/// The characters of a Google Drive id.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Returns `length` random characters of the alphabet of Google's ids.
pub(crate) fn random_text(rng: &mut fastrand::Rng, length: usize) -> String {
    (0..length)
        .filter_map(|_| rng.choice(ALPHABET).map(|byte| char::from(*byte)))
        .collect()
}

/// Returns a new file id: 33 characters that begin with `1`, as Google's do today.
pub(crate) fn new_file_id(rng: &mut fastrand::Rng) -> FileId {
    FileId::from(format!("1{}", random_text(rng, 32)))
}

/// Returns a new shared drive id: 19 characters that begin with `0A` and end with `PVA`, as
/// Google's do today.
pub(crate) fn new_root_id(rng: &mut fastrand::Rng) -> FileId {
    FileId::from(format!("0A{}PVA", random_text(rng, 14)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_reproducible_from_the_seed() {
        let first = new_file_id(&mut fastrand::Rng::with_seed(7));
        assert_eq!(first, new_file_id(&mut fastrand::Rng::with_seed(7)));
        assert_eq!(first.as_str().len(), 33);
        assert!(first.as_str().starts_with('1'));
    }

    #[test]
    fn an_address_and_its_short_name_are_the_same_user() {
        assert_eq!(
            UserId::from_email("owner@example.com"),
            UserId::from("owner")
        );
        assert_eq!(UserId::from("owner").email(), "owner@example.com");
        assert_eq!(
            UserId::from_email("sync@project.iam.gserviceaccount.com").email(),
            "sync@project.iam.gserviceaccount.com"
        );
    }
}
