//! Identifiers and tokens: opaque, parsed once at the boundary, and each of its own type.

pub(crate) mod account;
pub(crate) mod reach;

use std::fmt;

use crate::Jitter;

/// A text that is not a valid identifier. `Display` says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    kind: &'static str,
    bytes_max: usize,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a {}: 1 to {} characters out of A-Z a-z 0-9 . _ - are allowed",
            self.kind, self.bytes_max
        )
    }
}

impl std::error::Error for InvalidId {}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $bytes_max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Parses an identifier.
            ///
            /// # Errors
            /// [`InvalidId`] if the text is empty, too long, contains a character that could break
            /// out of a key (`#`, `/`, white space, anything outside ASCII), or means a folder
            /// where keys are paths.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
                let folder = matches!(text, "." | "..");
                let length = 1..=$bytes_max;
                if folder || !length.contains(&text.len()) || !text.bytes().all(allowed) {
                    return Err(InvalidId { kind: $kind, bytes_max: $bytes_max });
                }
                Ok(Self(text.to_owned()))
            }

            /// Returns the identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A tenant, the owner of data. Part of every key except a channel's.
    TenantId, "tenant id", 64
);
id!(
    /// One Drive account or shared drive that is synced for a tenant.
    ConnectionId, "connection id", 64
);
id!(
    /// A Drive change log of a connection: `user`, or a shared drive's id.
    LogId, "log id", 128
);
id!(
    /// A Drive file id. Drive documents no length; observed ids have 33 to 44 characters.
    FileId, "file id", 128
);
id!(
    /// A push-notification channel. Drive allows 64 characters and refuses an id that was used
    /// before.
    ChannelId, "channel id", 64
);
id!(
    /// One tracked run: an initial sync, a resync, an audit.
    OperationId, "operation id", 64
);

id!(
    /// A machine that calls the API: the client of a token that was issued for no user.
    ClientId, "client id", 128
);

id!(
    /// A Google account: the permission id of its user, the same on every file. Its address may
    /// change; this does not.
    AccountId, "account id", 128
);

id!(
    /// A webhook endpoint.
    EndpointId, "webhook id", 64
);

impl EndpointId {
    /// Creates an endpoint's id from 64 random bits.
    #[must_use]
    pub fn fresh(random: u64) -> Self {
        Self(format!("w_{random:016x}"))
    }
}

impl OperationId {
    /// Creates an operation's id from its start time and 32 random bits: ids sort by time.
    #[must_use]
    pub fn at(started_at: crate::Timestamp, random: u32) -> Self {
        Self(format!(
            "{:013}-{random:08x}",
            started_at.as_millis().max(0)
        ))
    }
}

impl ConnectionId {
    /// Creates a connection's id from 64 random bits.
    #[must_use]
    pub fn fresh(random: u64) -> Self {
        Self(format!("c_{random:016x}"))
    }
}

impl ChannelId {
    /// Creates a channel's id from 128 random bits.
    #[must_use]
    pub fn fresh(high: u64, low: u64) -> Self {
        Self(format!("{high:016x}{low:016x}"))
    }
}

impl LogId {
    /// Returns the log of the connection's user: My Drive and everything shared with the user.
    #[must_use]
    pub fn user() -> Self {
        Self("user".to_owned())
    }
}

/// A connection together with its tenant. No code path reads across tenants, so the two are never
/// separated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    /// The tenant that owns the connection.
    pub tenant: TenantId,
    /// The connection within the tenant.
    pub connection: ConnectionId,
}

impl ConnectionKey {
    /// Returns the key under which the erasure of a tenant is an operation, as
    /// [`ConnectionKey::of_exports`].
    #[must_use]
    pub fn of_tenant(tenant: TenantId) -> Self {
        Self {
            tenant,
            connection: ConnectionId("tenant".to_owned()),
        }
    }

    /// Returns the key under which the erasures of a tenant's persons are operations, as
    /// [`ConnectionKey::of_exports`].
    #[must_use]
    pub fn of_persons(tenant: TenantId) -> Self {
        Self {
            tenant,
            connection: ConnectionId("persons".to_owned()),
        }
    }

    /// Returns the key under which the exports of a tenant are operations: that of no connection,
    /// whose ids all begin with `c_`.
    #[must_use]
    pub fn of_exports(tenant: TenantId) -> Self {
        Self {
            tenant,
            connection: ConnectionId("exports".to_owned()),
        }
    }
}

impl fmt::Display for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.connection)
    }
}

/// A position in a Drive change log. Opaque, and never used on another log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken(String);

impl PageToken {
    /// Wraps a token from Drive.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// Returns the token as Drive gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Drive's `version` of a file. It orders the snapshots of a present file, and does not say what
/// changed.
///
/// "A monotonically increasing version number for the file. This reflects every change made to the
/// file on the server, even those not visible to the user" (Drive v3, `files` resource). One edit
/// may increase it by more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DriveVersion(pub u64);

impl fmt::Display for DriveVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// This system's revision of a file's record: the condition of every write to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// Returns the revision of the next write.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The cause of a write: it names the wake, request or operation that led to it. Random, drawn once
/// where that enters the system, and carried along from there. Nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause([u8; 16]);

impl Cause {
    /// Creates a cause from 128 random bits.
    #[must_use]
    pub const fn fresh(high: u64, low: u64) -> Self {
        Self(((high as u128) << 64 | low as u128).to_be_bytes())
    }

    /// Wraps the bytes of a stored cause.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, as they are stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses 32 lower-case hexadecimal digits: the form that `Display` has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits =
            text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.then(|| u128::from_str_radix(text, 16).ok())??;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// One attempt to write to Drive. Random, so that no worker mistakes another's answer for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

impl AttemptId {
    /// Returns a random number that belongs to the attempt.
    pub(crate) fn jitter(self) -> Jitter {
        const PARTS: u64 = 1_024;
        let part = u32::try_from(self.0 % PARTS).unwrap_or(0);
        Jitter(f64::from(part) / 1_024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_has_one_text() {
        let cause = Cause::fresh(0x00ff, 7);
        assert_eq!(cause.to_string(), "00000000000000ff0000000000000007");
        assert_eq!(Cause::parse(&cause.to_string()), Some(cause));
        assert_eq!(Cause::from_bytes(*cause.as_bytes()), cause);
        for bad in [
            "",
            "ff",
            "00000000000000FF0000000000000007",
            "+0000000000000ff0000000000000007",
            "00000000000000ff00000000000000070",
            "00000000-00000ff0000000000000007",
        ] {
            assert_eq!(Cause::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_id_that_could_break_out_of_a_key_is_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a#b",
            "a/b",
            "a b",
            "ü",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(TenantId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            TenantId::parse("acme.eu_1-x").unwrap().as_str(),
            "acme.eu_1-x"
        );
    }
}
