//! Persons that were erased: what is stored and shown in place of what names them.
//!
//! A person is erased by one name: an address, or the subject of a token. From then on the name
//! stands nowhere but as `erased:<n>`, with the same number wherever it stood. Only what says who
//! someone is counts as a name: an owner, who changed a file last, the principal of a permission,
//! the author of an edit. What people write (names, descriptions, properties, contents) is theirs.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::{DriveMetadata, Field, ObservedPermission, Snapshot};

/// What `erased:<n>` begins with.
const ERASED: &str = "erased:";

/// Returns the form of a name in which it is compared: without spaces around it, and an address in
/// lower case.
#[must_use]
pub fn person_name(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim();
    match trimmed.contains('@') {
        true => trimmed.to_lowercase().into(),
        false => trimmed.into(),
    }
}

/// Returns what stands in place of the names of the person with this number.
#[must_use]
pub fn erased_name(number: u32) -> String {
    format!("{ERASED}{number}")
}

/// Returns whether a text stands in place of a name.
#[must_use]
pub fn is_erased_name(text: &str) -> bool {
    let digits = text.strip_prefix(ERASED);
    digits.is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// Returns what stands in place of the name of a principal; `None` of any other principal.
#[must_use]
pub fn erased_principal(principal: &str) -> Option<&str> {
    let (_, name) = principal.split_once(':')?;
    is_erased_name(name).then_some(name)
}

type NumberOf = dyn Fn(&str) -> Option<u32> + Send + Sync;

/// The persons of a tenant that were erased. The default is that nobody was.
#[derive(Clone, Default)]
pub struct ErasedPersons(Option<Arc<NumberOf>>);

impl fmt::Debug for ErasedPersons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ErasedPersons")
            .field(&self.0.is_some())
            .finish()
    }
}

impl ErasedPersons {
    /// The persons whose names ([`person_name`]) this function has a number for.
    #[must_use]
    pub fn new(number_of: impl Fn(&str) -> Option<u32> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(number_of)))
    }

    /// Returns whether nobody was erased.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the number of the person with this name.
    #[must_use]
    pub fn number_of(&self, name: &str) -> Option<u32> {
        let number_of = self.0.as_ref()?;
        let name = person_name(name);
        // What stands in place of a name is none.
        if name.is_empty() || is_erased_name(&name) {
            return None;
        }
        number_of(&name)
    }

    /// Returns what stands in place of a name; `None` if it stays.
    #[must_use]
    pub fn name(&self, name: &str) -> Option<String> {
        self.number_of(name).map(erased_name)
    }

    /// Returns the name, or what stands in its place.
    #[must_use]
    pub fn shown(&self, name: String) -> String {
        self.name(&name).unwrap_or(name)
    }

    /// Returns what stands in place of the principal of a permission; `None` if it stays. Only
    /// addresses are principals.
    #[must_use]
    pub fn principal(&self, principal: &str) -> Option<String> {
        let (kind, name) = principal.split_once(':')?;
        let address = name.contains('@') && !matches!(kind, "domain" | "id");
        let erased = self.name(name).filter(|_| address)?;
        Some(format!("{kind}:{erased}"))
    }

    /// Returns what stands in place of a field; `None` if it stays.
    #[must_use]
    pub fn field(&self, field: &Field) -> Option<Field> {
        let principal = self.principal(field.principal()?)?;
        Some(Field::Permission(principal))
    }

    /// Returns what stands in place of a text that names a person: a name, a principal, or the
    /// label of a permission's field. `None` if it stays.
    #[must_use]
    pub fn text(&self, text: &str) -> Option<String> {
        if let Some(principal) = text.strip_prefix("permissions.") {
            let erased = self.principal(principal)?;
            return Some(format!("permissions.{erased}"));
        }
        self.name(text).or_else(|| self.principal(text))
    }

    /// Returns a text with what stands in place of the addresses in it; `None` if it names nobody.
    #[must_use]
    pub fn within(&self, text: &str) -> Option<String> {
        if self.is_empty() || !text.contains('@') {
            return None;
        }
        let is_end =
            |letter: char| letter.is_whitespace() || "#/\\\"',;:<>()[]{}|=&?".contains(letter);
        let mut shown = String::with_capacity(text.len());
        let mut changed = false;
        for part in text.split_inclusive(is_end) {
            let word = part.strip_suffix(is_end).unwrap_or(part);
            let end = part.get(word.len()..).unwrap_or_default();
            let address = word.trim_end_matches(['.', '!']);
            let dots = word.get(address.len()..).unwrap_or_default();
            match self.name(address).filter(|_| address.contains('@')) {
                Some(erased) => {
                    changed = true;
                    shown.push_str(&erased);
                    shown.push_str(dots);
                }
                None => shown.push_str(word),
            }
            shown.push_str(end);
        }
        changed.then_some(shown)
    }
}

impl ObservedPermission {
    /// Returns its id as it is shown: the id of an erased person's permission is the person's
    /// account, and only stored, since a permission is known by it.
    #[must_use]
    pub fn shown_id(&self) -> &str {
        erased_principal(&self.principal).unwrap_or(&self.id)
    }

    /// Returns the permission as it is stored once these persons are erased.
    #[must_use]
    pub fn without(self, erased: &ErasedPersons) -> Self {
        match erased.principal(&self.principal) {
            Some(principal) => Self { principal, ..self },
            None => self,
        }
    }
}

impl DriveMetadata {
    fn without(mut self, erased: &ErasedPersons) -> Self {
        let shown = |name: Option<String>| name.map(|name| erased.shown(name));
        self.owner = shown(self.owner);
        self.modified_by = shown(self.modified_by);
        let permissions = self.permissions.into_iter();
        self.permissions = permissions.map(|shown| shown.without(erased)).collect();
        self.permissions.sort();
        self
    }
}

impl Snapshot {
    /// Returns the state as it is stored once these persons are erased: on the way in, whatever
    /// Drive still shows.
    #[must_use]
    pub fn without(self, erased: &ErasedPersons) -> Self {
        if erased.is_empty() {
            return self;
        }
        let fields = self.fields.into_iter();
        let fields = fields.map(|(field, value)| (erased.field(&field).unwrap_or(field), value));
        Self {
            fields: fields.collect(),
            metadata: self.metadata.without(erased),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> ErasedPersons {
        ErasedPersons::new(|name| match name {
            "ann@example.com" => Some(1),
            "0f8c-12" => Some(2),
            _ => None,
        })
    }

    #[test]
    fn a_name_is_the_same_in_other_capitals_and_with_spaces() {
        for name in ["ann@example.com", "Ann@Example.COM", "  ann@example.com\n"] {
            assert_eq!(ann().name(name).as_deref(), Some("erased:1"), "{name}");
        }
        assert_eq!(ann().name("0f8c-12").as_deref(), Some("erased:2"));
        for other in ["0F8C-12", "joann@example.com", "", "erased:1", "writer"] {
            assert_eq!(ann().name(other), None, "{other}");
        }
        assert_eq!(ErasedPersons::default().name("ann@example.com"), None);
    }

    #[test]
    fn texts_that_name_a_person_show_the_number() {
        for (text, shown) in [
            ("user:Ann@example.com", Some("user:erased:1")),
            ("group:ann@example.com", Some("group:erased:1")),
            (
                "permissions.user:ann@example.com",
                Some("permissions.user:erased:1"),
            ),
            ("0f8c-12", Some("erased:2")),
            // No permission is granted to a subject, and an id is no name.
            ("user:0f8c-12", None),
            ("id:ann@example.com", None),
            ("anyone", None),
            ("permissions.anyone", None),
            ("Ask ann@example.com", None),
        ] {
            assert_eq!(ann().text(text).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn addresses_are_found_within_a_text_as_whole_words() {
        for (text, shown) in [
            (
                "Ask <Ann@example.com>, bob@example.com.",
                Some("Ask <erased:1>, bob@example.com."),
            ),
            (
                "f1/permissions.user:ann@example.com/1",
                Some("f1/permissions.user:erased:1/1"),
            ),
            ("It is ann@example.com.", Some("It is erased:1.")),
            ("jo.ann@example.com ann@example.com.evil.org", None),
            ("0f8c-12", None),
            ("é@", None),
        ] {
            assert_eq!(ann().within(text).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn what_stands_in_place_of_a_name_is_recognised() {
        for (text, is) in [("erased:1", true), ("erased:", false), ("erased:x", false)] {
            assert_eq!(is_erased_name(text), is, "{text}");
        }
        assert_eq!(erased_principal("user:erased:7"), Some("erased:7"));
        assert_eq!(erased_principal("user:ann@example.com"), None);
        assert_eq!(erased_principal("erased:7"), None);
    }
}
