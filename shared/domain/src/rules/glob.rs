//! Name patterns: `*` and `?`.

use std::fmt;

use super::InvalidRule;
use super::spelling::composed;

/// The longest pattern, in bytes.
const GLOB_BYTES_MAX: usize = 255;

/// A pattern for whole names: `*` matches any number of characters, `?` matches one, and a
/// backslash escapes the next character. Case-insensitive, as Drive's own search. Pattern and name
/// are compared in composed form (NFC), so that an accented letter is one character in either of
/// its spellings.
///
/// A slash is an ordinary character: Drive's names may contain one, and a pattern applies to one
/// name.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Many,
    One,
    Char(char),
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.text)
    }
}

impl Glob {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`InvalidRule`] if it is empty, too long, or ends in a single backslash.
    pub fn parse(text: &str) -> Result<Self, InvalidRule> {
        if text.is_empty() {
            return Err(InvalidRule::Glob("must not be empty"));
        }
        if text.len() > GLOB_BYTES_MAX {
            return Err(InvalidRule::Glob("is longer than 255 bytes"));
        }
        let mut parts = Vec::new();
        let pattern = composed(text);
        let mut chars = pattern.chars();
        while let Some(char) = chars.next() {
            parts.push(match char {
                '*' if parts.last() == Some(&Part::Many) => continue,
                '*' => Part::Many,
                '?' => Part::One,
                '\\' => {
                    let ends = InvalidRule::Glob("ends in a backslash that escapes nothing");
                    Part::Char(chars.next().ok_or(ends)?)
                }
                other => Part::Char(other),
            });
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// Returns the pattern as it was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the pattern matches the whole name. Takes at most the product of both
    /// lengths in steps.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name = composed(name);
        let (mut parts, mut chars) = (self.parts.as_slice(), name.chars());
        // After a star: what follows it, and the rest of the name if the star takes one more
        // character.
        let mut retry = None;
        loop {
            let before = chars.clone();
            match (parts.split_first(), chars.next()) {
                (None, None) => return true,
                (Some((Part::Many, rest)), _) => {
                    parts = rest;
                    chars = before;
                    retry = Some((rest, chars.clone()));
                    continue;
                }
                (Some((Part::One, rest)), Some(_)) => {
                    parts = rest;
                    continue;
                }
                (Some((Part::Char(wanted), rest)), Some(char)) if alike(*wanted, char) => {
                    parts = rest;
                    continue;
                }
                (Some((Part::One | Part::Char(_), _)), _) | (None, Some(_)) => {}
            }
            // The last star takes one more character. Backtracking to an earlier star can't
            // succeed.
            let Some((rest, mut from)) = retry.take() else {
                return false;
            };
            if from.next().is_none() {
                return false;
            }
            parts = rest;
            chars = from.clone();
            retry = Some((rest, from));
        }
    }
}

fn alike(a: char, b: char) -> bool {
    a == b || a.to_lowercase().eq(b.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(name)
    }

    /// Returns whether a name matches, by the definition of a pattern.
    fn plainly(parts: &[Part], name: &[char]) -> bool {
        match (parts, name) {
            ([], []) => true,
            ([Part::Many, rest @ ..], _) => {
                (0..=name.len()).any(|taken| plainly(rest, &name[taken..]))
            }
            ([Part::One, rest @ ..], [_, name @ ..]) => plainly(rest, name),
            ([Part::Char(a), rest @ ..], [b, name @ ..]) => alike(*a, *b) && plainly(rest, name),
            _ => false,
        }
    }

    #[test]
    fn every_short_pattern_matches_by_definition() {
        let alphabet = ['a', 'b', '*', '?'];
        let words = |letters: &[char], length_max: u32| {
            let mut words = vec![String::new()];
            let mut from = 0;
            for _ in 0..length_max {
                let to = words.len();
                for at in from..to {
                    for letter in letters {
                        words.push(format!("{}{letter}", words[at]));
                    }
                }
                from = to;
            }
            words
        };
        let names = words(&['a', 'B'], 5);
        let mut tried = 0_u32;
        for pattern in words(&alphabet, 5).iter().skip(1) {
            let glob = Glob::parse(pattern).unwrap();
            for name in &names {
                let chars: Vec<char> = name.chars().collect();
                assert_eq!(
                    glob.matches(name),
                    plainly(&glob.parts, &chars),
                    "{pattern} {name}"
                );
                tried += 1;
            }
        }
        assert!(tried > 50_000, "{tried}");
    }

    #[test]
    fn a_pattern_matches_the_whole_name_in_any_case() {
        assert!(matches("*.TMP", "draft.tmp"));
        assert!(!matches("*.tmp", "draft.tmp.txt"));
        assert!(matches("Ä?.*", "äß.doc"));
        assert!(matches("a*c", "a/b\nc"));
        assert!(matches("?", "e\u{301}"), "either spelling is one character");
        assert!(!matches("?", "q\u{301}"), "no letter has this accent");
        assert!(matches("?", "😀"));
    }

    #[test]
    fn a_pattern_matches_a_name_in_either_spelling() {
        for (pattern, name) in [
            ("Caf\u{e9}*", "cafe\u{301} 1"),
            ("Cafe\u{301}*", "caf\u{e9} 1"),
        ] {
            assert!(
                matches(pattern, name) && matches(pattern, pattern),
                "{pattern} {name}"
            );
            assert_eq!(
                Glob::parse(pattern).unwrap().as_str(),
                pattern,
                "kept as it came"
            );
        }
        assert!(
            matches("\\e\u{301}", "\u{e9}"),
            "an escaped letter keeps its accent"
        );
        assert!(!matches("e", "\u{e9}"));
    }

    #[test]
    fn a_backslash_escapes_the_next_character() {
        assert!(matches(r"100\% \*", "100% *"));
        assert!(!matches(r"\*", "a"));
        assert!(matches(r"a\\b", r"a\b"));
        assert!(Glob::parse("a\\").is_err());
        assert!(Glob::parse("").is_err());
        assert!(Glob::parse(&"x".repeat(256)).is_err());
    }

    #[test]
    fn a_pathological_pattern_terminates() {
        let pattern = format!("{}b", "*a".repeat(127));
        let glob = Glob::parse(&pattern).unwrap();
        assert!(!glob.matches(&"a".repeat(32 * 1024)));
    }
}
