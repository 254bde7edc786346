//! The fields that both sides may write, their values, and the limits that Drive sets on them.

use std::fmt;

/// A field of a file that the application and Drive may both change, and so the unit of conflict.
///
/// What Drive alone decides (type, size, checksums, times...) is in [`crate::Mirror`] and never conflicts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Whether the file is there for us at all. Nobody edits it, but it can be in conflict: the file
    /// was removed, or our access to it was, while an edit of ours was owed.
    Existence,
    /// The file's name.
    Name,
    /// The file's description; an absent one is the empty text.
    Description,
    /// Starred by the connection's user.
    Starred,
    /// Put into the trash itself (`explicitlyTrashed`), as opposed to lying in a trashed folder.
    Trashed,
    /// The id of the one folder that holds the file; `Null` where Drive shows us none.
    Parent,
    /// What the file holds, by its SHA-256: 64 digits of lower-case hex. `Null` where Drive has no bytes of
    /// it, or no checksum of them: folders, shortcuts, Docs editor files.
    Content,
    /// One key of the file's public `properties`.
    Property(String),
    /// The role that a principal has on the file itself, as opposed to one that comes from a folder above:
    /// `user:a@b.c`, `group:a@b.c`, `domain:b.c`, `anyone`, or `id:` and the permission's id where Drive
    /// names nobody. `Null` where there is none.
    Permission(String),
}

/// A field's value. `Null` is a property that is not set, a role that is not given, or a parent that is
/// not shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing there.
    Null,
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
}

impl Value {
    /// A text value.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// A property's key and value together, in bytes of UTF-8 (Drive guide "Add custom file properties").
pub const PROPERTY_BYTES_MAX: usize = 124;
/// Public properties of one file (same guide).
pub const PROPERTIES_MAX: usize = 30;
/// The longest name that we send, in bytes. Drive names no limit in its reference; it is known to keep 32 KB.
pub const NAME_BYTES_MAX: usize = 32 * 1024;
/// The longest description that we send, in bytes: a bound that keeps a record inside DynamoDB's 400 KB.
pub const DESCRIPTION_BYTES_MAX: usize = 32 * 1024;

/// Why a value can't be stored in a field. `Display` says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueRefused {
    /// The field holds another kind of value.
    Kind {
        /// What the field holds.
        wanted: &'static str,
    },
    /// A text that must not be empty is.
    Empty,
    /// Longer than Drive takes.
    TooLong {
        /// The limit, in bytes of UTF-8.
        bytes_max: usize,
    },
    /// Not the shape of a Drive file id.
    NotAnId,
    /// More public properties than Drive keeps.
    TooManyProperties,
    /// Not the text of somebody that a permission can be given to.
    NotAPrincipal,
    /// Ownership is not given or taken by an edit of a permission.
    OwnerRole,
    /// The only role there is comes from elsewhere, and has to be taken away there.
    Inherited {
        /// The folder or shared drive that it comes from, where Drive says so.
        from: Option<String>,
    },
    /// Drive does not show us who has access to the file, or there are more than are kept.
    PermissionsUnknown,
    /// The file has no bytes of its own: a folder, a shortcut or a Docs editor file.
    NoContent,
    /// Nobody can write this field.
    ReadOnly,
}

impl fmt::Display for ValueRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { wanted } => write!(f, "must be {wanted}"),
            Self::Empty => f.write_str("must not be empty"),
            Self::TooLong { bytes_max } => write!(f, "is longer than {bytes_max} bytes"),
            Self::NotAnId => f.write_str("must be the id of a folder in Drive"),
            Self::TooManyProperties => {
                write!(
                    f,
                    "would give the file more than {PROPERTIES_MAX} public properties"
                )
            }
            Self::NotAPrincipal => f.write_str(
                "must be of user:ADDRESS, group:ADDRESS, domain:NAME or anyone, or a permission that is there",
            ),
            Self::OwnerRole => f.write_str(
                "is about the owner: ownership is handed over in Drive, and not by an edit",
            ),
            Self::Inherited { from: Some(from) } => {
                write!(
                    f,
                    "is inherited from {from}, and can only be taken away there"
                )
            }
            Self::Inherited { from: None } => {
                f.write_str("is inherited from a folder above, and can only be taken away there")
            }
            Self::PermissionsUnknown => {
                f.write_str("can't be written, since the file's permissions are not known here")
            }
            Self::NoContent => f.write_str(
                "can't be written: folders, shortcuts and Docs editor files have no bytes of their own",
            ),
            Self::ReadOnly => f.write_str("is decided by Drive and can't be written"),
        }
    }
}

impl std::error::Error for ValueRefused {}

impl Field {
    /// The field's name in keys, JSON and policies: `name`, ..., `properties.KEY`.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Existence => "existence".to_owned(),
            Self::Name => "name".to_owned(),
            Self::Description => "description".to_owned(),
            Self::Starred => "starred".to_owned(),
            Self::Trashed => "trashed".to_owned(),
            Self::Parent => "parent".to_owned(),
            Self::Content => "content".to_owned(),
            Self::Property(key) => format!("properties.{key}"),
            Self::Permission(principal) => format!("permissions.{principal}"),
        }
    }

    /// The inverse of [`Field::label`]; `None` where no field has that name.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Some(match label {
            "existence" => Self::Existence,
            "name" => Self::Name,
            "description" => Self::Description,
            "starred" => Self::Starred,
            "trashed" => Self::Trashed,
            "parent" => Self::Parent,
            "content" => Self::Content,
            other => match other.split_once('.')? {
                ("properties", key) => Self::Property(key.to_owned()),
                ("permissions", principal) => Self::Permission(principal.to_owned()),
                _ => return None,
            },
        })
    }

    /// The value of a file that says nothing about this field.
    #[must_use]
    pub fn unset(&self) -> Value {
        match self {
            Self::Existence
            | Self::Parent
            | Self::Content
            | Self::Property(_)
            | Self::Permission(_) => Value::Null,
            Self::Name | Self::Description => Value::text(""),
            Self::Starred | Self::Trashed => Value::Flag(false),
        }
    }

    /// Checks a value that the application wants to write, before anything is stored.
    ///
    /// # Errors
    /// [`ValueRefused`] where Drive would refuse it, or where the field can't be written at all.
    pub fn check(&self, value: &Value) -> Result<(), ValueRefused> {
        let text_within = |bytes_max: usize| match value {
            Value::Text(text) if text.len() > bytes_max => Err(ValueRefused::TooLong { bytes_max }),
            Value::Text(_) => Ok(()),
            Value::Null | Value::Flag(_) => Err(ValueRefused::Kind { wanted: "a text" }),
        };
        match self {
            Self::Existence => Err(ValueRefused::ReadOnly),
            Self::Name => {
                text_within(NAME_BYTES_MAX)?;
                if *value == Value::text("") {
                    Err(ValueRefused::Empty)
                } else {
                    Ok(())
                }
            }
            Self::Description => text_within(DESCRIPTION_BYTES_MAX),
            Self::Starred | Self::Trashed => match value {
                Value::Flag(_) => Ok(()),
                Value::Null | Value::Text(_) => Err(ValueRefused::Kind {
                    wanted: "true or false",
                }),
            },
            Self::Parent => match value {
                Value::Text(id) if crate::FileId::parse(id).is_ok() => Ok(()),
                Value::Text(_) => Err(ValueRefused::NotAnId),
                Value::Null | Value::Flag(_) => Err(ValueRefused::Kind {
                    wanted: "the id of one folder",
                }),
            },
            Self::Content => match value {
                Value::Text(text) if is_sha256(text) => Ok(()),
                Value::Text(_) | Value::Null | Value::Flag(_) => Err(ValueRefused::Kind {
                    wanted: "the SHA-256 of stored content, 64 digits of lower-case hex",
                }),
            },
            Self::Permission(principal) => crate::permission::check(principal, value),
            Self::Property(key) => match value {
                _ if key.is_empty() => Err(ValueRefused::Empty),
                Value::Null => Ok(()),
                Value::Text(text) if key.len() + text.len() > PROPERTY_BYTES_MAX => {
                    Err(ValueRefused::TooLong {
                        bytes_max: PROPERTY_BYTES_MAX,
                    })
                }
                Value::Text(_) => Ok(()),
                Value::Flag(_) => Err(ValueRefused::Kind {
                    wanted: "a text, or null to remove it",
                }),
            },
        }
    }
}

impl Field {
    /// Whether the file may have any number of this kind of field, so that one that is not in a snapshot
    /// is not set rather than left out.
    #[must_use]
    pub const fn is_one_of_many(&self) -> bool {
        match self {
            Self::Property(_) | Self::Permission(_) => true,
            Self::Existence
            | Self::Name
            | Self::Description
            | Self::Starred
            | Self::Trashed
            | Self::Parent
            | Self::Content => false,
        }
    }
}

/// Whether a text is a SHA-256 as Drive writes it.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(digit)
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_reads_back_as_its_field() {
        for field in [
            Field::Existence,
            Field::Name,
            Field::Description,
            Field::Starred,
            Field::Trashed,
            Field::Parent,
            Field::Content,
            Field::Property("a.b".to_owned()),
            Field::Property(String::new()),
            Field::Permission("user:a.b@c.d".to_owned()),
            Field::Permission("anyone".to_owned()),
        ] {
            assert_eq!(Field::from_label(&field.label()), Some(field));
        }
        assert_eq!(Field::from_label("mime_type"), None);
    }

    #[test]
    fn the_limits_are_checked_at_their_edges() {
        let property = |key: &str, bytes: usize| {
            Field::Property(key.to_owned()).check(&Value::text("x".repeat(bytes)))
        };
        assert_eq!(property("abcd", 120), Ok(()));
        assert_eq!(
            property("abcd", 121),
            Err(ValueRefused::TooLong { bytes_max: 124 })
        );
        assert_eq!(
            Field::Name.check(&Value::text("")),
            Err(ValueRefused::Empty)
        );
        assert_eq!(Field::Description.check(&Value::text("")), Ok(()));
        assert!(
            Field::Name
                .check(&Value::text("x".repeat(NAME_BYTES_MAX + 1)))
                .is_err()
        );
        assert!(Field::Starred.check(&Value::text("yes")).is_err());
        assert!(Field::Parent.check(&Value::text("no/id")).is_err());
        assert!(Field::Parent.check(&Value::Null).is_err());
        assert_eq!(
            Field::Existence.check(&Value::Null),
            Err(ValueRefused::ReadOnly)
        );
    }
}
