//! Whether a text names a person.

/// Returns whether a text names a person. An address may stand anywhere in it, in whatever case,
/// but not as a part of a longer one. The subject of a token, or a person of the audit trail, is
/// all of the text, or what follows the kind of principal.
#[must_use]
pub fn names_person(text: &str, person: &str) -> bool {
    if !person.contains('@') {
        let before = text.strip_suffix(person).filter(|_| !person.is_empty());
        return before.is_some_and(|before| {
            let permission = before.strip_prefix("permissions.").unwrap_or(before);
            permission.is_empty() || permission == "user:"
        });
    }
    let (text, person) = (text.to_lowercase(), person.to_lowercase());
    let inner = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '+' | '%');
    text.match_indices(&person).any(|(at, found)| {
        let before = text.get(..at).unwrap_or_default();
        let after = text.get(at + found.len()..).unwrap_or_default();
        let mut letters = after.chars();
        let goes_on = match letters.next() {
            // A full stop ends a sentence, or goes on to another domain.
            Some('.') => letters.next().is_some_and(inner),
            Some('@') => true,
            next => next.is_some_and(inner),
        };
        let last = before.chars().next_back();
        !goes_on && !last.is_some_and(|last| inner(last) || last == '.' || last == '@')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_named_by_whole_addresses_alone() {
        let ann = "ann@example.com";
        for text in [
            ann,
            "Ann@Example.COM",
            "user:ann@example.com",
            "permissions.user:ann@example.com",
            "Ask ann@example.com.",
            "<ann@example.com>, bob@example.com",
            r#"{"emailAddress":"ann@example.com"}"#,
        ] {
            assert!(names_person(text, ann), "{text}");
        }
        for text in [
            "",
            "ann",
            "joann@example.com",
            "jo.ann@example.com",
            "jo-ann@example.com",
            "ann@example.com.evil.org",
            "ann@example.community",
            "ann@example.com@evil.org",
        ] {
            assert!(!names_person(text, ann), "{text}");
        }
        assert!(!names_person("anything", ""));
        for (text, named) in [
            ("ann", true),
            ("user:ann", true),
            ("permissions.user:ann", true),
            ("permissions.ann", true),
            ("group:ann", false),
            ("joann", false),
            ("Ask ann", false),
            ("ann lee", false),
        ] {
            assert_eq!(names_person(text, "ann"), named, "{text}");
        }
    }
}
