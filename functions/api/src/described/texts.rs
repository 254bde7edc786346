//! The forms of texts that requests carry, described once. The type of each in the domain checks
//! them.

use utoipa::ToSchema;

/// An id: a file's, a connection's, a log's.
#[derive(ToSchema)]
#[schema(as = Id, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._-]+$")]
#[expect(dead_code, reason = "describes what the ids of the domain accept")]
pub(crate) struct IdText(String);

/// A MIME type, or a prefix of MIME types (`image/*`).
#[derive(ToSchema)]
#[schema(
    as = MimePattern,
    min_length = 3,
    max_length = 255,
    pattern = "^[A-Za-z0-9!#$&^_.+-]+/([A-Za-z0-9!#$&^_.+-]+\\*?|\\*)$"
)]
#[expect(dead_code, reason = "describes what `domain::MimePattern` accepts")]
pub(crate) struct MimePatternText(String);

/// A MIME type.
#[derive(ToSchema)]
#[schema(
    as = MimeType,
    min_length = 3,
    max_length = 255,
    pattern = "^[!-.0-~]+/[!-~]+$"
)]
#[expect(dead_code, reason = "describes what the creation of a file accepts")]
pub(crate) struct MimeTypeText(String);

/// A pattern for names: `*` matches any number of characters, `?` one; a backslash escapes the next
/// character. Case does not count.
#[derive(ToSchema)]
#[schema(as = NamePattern, min_length = 1, max_length = 255)]
#[expect(dead_code, reason = "describes what `domain::Glob` accepts")]
pub(crate) struct NamePatternText(String);

/// The SHA-256 of content in hexadecimal digits.
#[derive(ToSchema)]
#[schema(as = Sha256, min_length = 64, max_length = 64, pattern = "^[0-9a-fA-F]{64}$")]
#[expect(
    dead_code,
    reason = "describes what `domain::content::ContentHash` accepts"
)]
pub(crate) struct Sha256Text(String);

/// The value of a property; null removes it. It and its key may have 124 bytes together.
#[derive(ToSchema)]
#[schema(as = PropertyValue, max_length = 123)]
#[expect(dead_code, reason = "describes what `domain::Field` accepts")]
pub(crate) struct PropertyText(Option<String>);

/// A role as Drive names it. The last two exist in shared drives only.
#[derive(ToSchema)]
#[schema(as = Role, rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what `domain::Field` accepts")]
pub(crate) enum RoleText {
    Reader,
    Commenter,
    Writer,
    FileOrganizer,
    Organizer,
}

/// A role to grant; null removes it.
#[derive(ToSchema)]
#[schema(as = RoleChange)]
#[expect(dead_code, reason = "describes what `domain::Field` accepts")]
pub(crate) struct RoleChangeText(Option<RoleText>);

/// Bytes of any type.
#[derive(ToSchema)]
#[schema(as = Bytes, value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes a body that is read as it is")]
pub(crate) struct BytesBody(Vec<u8>);
