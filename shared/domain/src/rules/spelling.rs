//! Unicode spellings of a name: an accented letter is one character, or a letter and a combining
//! accent. People do not see which, so names are compared in one form (NFC). They are stored, shown
//! and written as they came.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

/// Returns a text in Unicode's composed form (NFC).
pub(crate) fn composed(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

/// A text to search names for, in any spelling. Case does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameSearch(String);

impl NameSearch {
    /// A search for names that contain `part`.
    #[must_use]
    pub fn new(part: &str) -> Self {
        Self(folded(part))
    }

    /// Returns whether a name contains the text.
    #[must_use]
    pub fn finds(&self, name: &str) -> bool {
        folded(name).contains(&self.0)
    }
}

/// Returns a text composed and in lower case. Lower case may take a composed letter apart, so it is
/// composed again.
fn folded(text: &str) -> String {
    composed(&composed(text).to_lowercase()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_any_spelling_and_case() {
        for (part, name, found) in [
            ("caf\u{e9}", "Mon Cafe\u{301}", true),
            ("CAFE\u{301}", "mon caf\u{e9}", true),
            ("\u{c5}", "a\u{30a}ngstr\u{f6}m", true),
            ("\u{212b}", "\u{c5}", true),
            ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}", true),
            ("s\u{323}\u{307}", "s\u{307}\u{323}", true),
            ("\u{3a3}", "\u{3c3}", true),
            ("", "any", true),
            ("cafe", "caf\u{e9}", false),
            ("e\u{301}", "e", false),
            ("\u{fb01}", "fi", false),
        ] {
            assert_eq!(NameSearch::new(part).finds(name), found, "{part} in {name}");
        }
    }
}
