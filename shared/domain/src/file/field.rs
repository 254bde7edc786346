//! The fields that both sides may write, their values, and Drive's limits on them.

use std::fmt;

/// A field that both the application and Drive may change: the unit of conflict.
///
/// What only Drive decides (type, size, checksums, times...) is in [`crate::DriveMetadata`] and
/// never conflicts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The existence of the file. It can be in conflict when the file, or the access to it, was
    /// removed while an edit was owed.
    Existence,
    /// The file's name.
    Name,
    /// The file's description. An absent description is the empty text.
    Description,
    /// The star that the connection's user gave the file.
    Starred,
    /// The trashed state of the file itself (`explicitlyTrashed`), as opposed to a folder above.
    Trashed,
    /// The id of the folder that contains the file; `Null` if Drive shows none.
    Parent,
    /// The content, by its SHA-256 (64 digits of lower-case hex), or by another
    /// [`crate::content::ContentIdentity`] if Drive states none and the bytes have not been here.
    /// `Null` if Drive has no bytes: folders, shortcuts, Docs editor files.
    Content,
    /// One key of the file's public `properties`.
    Property(String),
    /// The role of a principal on the file itself, as opposed to an inherited one: `user:a@b.c`,
    /// `group:a@b.c`, `domain:b.c`, `anyone`, or `id:` and the permission's id if Drive shows no
    /// principal. `Null` if there is none.
    Permission(String),
}

/// The value of a field. `Null` is an unset property, a role that is not granted, or a hidden
/// parent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// No value.
    Null,
    /// A boolean.
    Flag(bool),
    /// A text.
    Text(String),
}

impl Value {
    /// Creates a text value.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// The limit of a property's key and value together, in bytes of UTF-8 (Drive guide "Add custom
/// file properties").
pub const PROPERTY_BYTES_MAX: usize = 124;
/// The limit of public properties of one file (same guide).
pub const PROPERTIES_MAX: usize = 30;
/// The longest name that is sent, in bytes. Drive's reference documents no limit; it is known to
/// store 32 KB.
pub const NAME_BYTES_MAX: usize = 32 * 1024;
/// The longest description that is sent, in bytes. Keeps a record within DynamoDB's limit of 400
/// KB.
pub const DESCRIPTION_BYTES_MAX: usize = 32 * 1024;

/// The reason why a value is not allowed in a field. `Display` says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueRefused {
    /// The value has the wrong type.
    Kind {
        /// The expected type.
        wanted: &'static str,
    },
    /// The text must not be empty.
    Empty,
    /// The text is longer than Drive allows.
    TooLong {
        /// The limit, in bytes of UTF-8.
        bytes_max: usize,
    },
    /// The text is not a valid Drive file id.
    NotAnId,
    /// The file would have more public properties than Drive allows.
    TooManyProperties,
    /// More principals would have a role on the file than are stored.
    TooManyPermissions,
    /// The text is not a principal that a permission can be granted to.
    NotAPrincipal,
    /// The person was erased and has no permission of its own on the file: whom to grant one is not
    /// known here.
    ErasedPerson,
    /// An edit of a permission can't transfer ownership.
    OwnerRole,
    /// The principal's only role is inherited and must be removed at its source.
    Inherited {
        /// The folder or shared drive that it comes from, if Drive provides it.
        from: Option<String>,
    },
    /// The file's permissions are not known: Drive does not show them, or there are more than are
    /// stored.
    PermissionsUnknown,
    /// The file has no bytes of its own: it is a folder, a shortcut or a Docs editor file.
    NoContent,
    /// The field can't be written.
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
            Self::TooManyPermissions => {
                let max = super::permission::PERMISSIONS_MAX;
                write!(
                    f,
                    "would make it more than {max} principals with a role on the file, including \
                     those whose roles are inherited or still to be removed in Drive"
                )
            }
            Self::ErasedPerson => f.write_str(
                "names a person who was erased here: share the file with the person in Drive",
            ),
            Self::NotAPrincipal => f.write_str(
                "must be user:ADDRESS, group:ADDRESS, domain:NAME, anyone or a known permission",
            ),
            Self::OwnerRole => f.write_str(
                "concerns the owner: ownership can be transferred in Drive only, not by an edit",
            ),
            Self::Inherited { from: Some(from) } => {
                write!(f, "is inherited from {from} and can only be removed there")
            }
            Self::Inherited { from: None } => {
                f.write_str("is inherited from a folder above and can only be removed there")
            }
            Self::PermissionsUnknown => {
                f.write_str("can't be written: the file's permissions are not known")
            }
            Self::NoContent => f.write_str(
                "can't be written: folders, shortcuts and Docs editor files have no bytes",
            ),
            Self::ReadOnly => f.write_str("is decided by Drive and can't be written"),
        }
    }
}

impl std::error::Error for ValueRefused {}

impl Field {
    /// Returns the field's name in keys, JSON and policies: `name`, ..., `properties.KEY`.
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

    /// Returns the field with this label, the inverse of [`Field::label`], or `None` if there is
    /// none.
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

    /// Returns the value of the field on a file that does not set it.
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
    /// [`ValueRefused`] if Drive would refuse the value, or if the field can't be written at all.
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
            Self::Permission(principal) => super::permission::check(principal, value),
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
    /// Returns whether a file may have any number of fields of this kind. Such a field is unset,
    /// and not unknown, if it is absent from a snapshot.
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

    /// Returns the principal whose role the field is, if it is a role.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        match self {
            Self::Permission(principal) => Some(principal),
            Self::Existence
            | Self::Name
            | Self::Description
            | Self::Starred
            | Self::Trashed
            | Self::Parent
            | Self::Content
            | Self::Property(_) => None,
        }
    }
}

/// Returns whether a text is a SHA-256 as Drive writes it.
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
    fn every_label_parses_to_its_field() {
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
    fn limits_are_checked_at_their_boundaries() {
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
