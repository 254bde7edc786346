//! The query language of `files.list`: the `q` parameter.
//!
//! Terms: `name`, `mimeType`, `trashed`, `starred`, `sharedWithMe`, `modifiedTime`, `createdTime`,
//! `'id' in parents`, `'who' in owners`, `properties has {key='k' and value='v'}` and the same for
//! `appProperties`; joined by `and`, `or`, `not` and parentheses. Anything else is refused as
//! Google refuses an invalid `q`.

use crate::{clock::parse_time, errors::DriveError};

/// A parsed search query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Query {
    /// `name = 'x'`.
    NameIs(String),
    /// `name contains 'x'`: some word of the name begins with it, in any case.
    NameContains(String),
    /// `mimeType = 'x'`.
    MimeTypeIs(String),
    /// `mimeType contains 'x'`: the type begins with it.
    MimeTypeContains(String),
    /// `trashed = b`: in the trash, itself or a folder above it.
    Trashed(bool),
    /// `starred = b`, of the caller.
    Starred(bool),
    /// `sharedWithMe`.
    SharedWithMe(bool),
    /// `'id' in parents`.
    InParents(String),
    /// `'who' in owners`.
    InOwners(String),
    /// `modifiedTime <op> 'time'`, in milliseconds since 1970.
    ModifiedTime(Comparison, i64),
    /// `createdTime <op> 'time'`, in milliseconds since 1970.
    CreatedTime(Comparison, i64),
    /// `properties has {...}` or `appProperties has {...}`.
    Property {
        /// Selects `appProperties`.
        private: bool,
        /// The property's key.
        key: String,
        /// The property's value.
        value: String,
    },
    /// Both queries match.
    And(Box<Query>, Box<Query>),
    /// At least one of the queries matches.
    Or(Box<Query>, Box<Query>),
    /// The query does not match.
    Not(Box<Query>),
}

/// A comparison of two times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// `<`
    Before,
    /// `<=`
    NotAfter,
    /// `=`
    At,
    /// `!=`
    NotAt,
    /// `>=`
    NotBefore,
    /// `>`
    After,
}

impl Comparison {
    /// Returns the result of `left <op> right`.
    pub(crate) fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Before => left < right,
            Self::NotAfter => left <= right,
            Self::At => left == right,
            Self::NotAt => left != right,
            Self::NotBefore => left >= right,
            Self::After => left > right,
        }
    }
}

/// The properties of an item that a query tests.
pub(crate) trait Searchable {
    /// Returns the name.
    fn name(&self) -> &str;
    /// Returns the MIME type.
    fn mime_type(&self) -> &str;
    /// Returns whether the item or a folder above it is in the trash.
    fn trashed(&self) -> bool;
    /// Returns whether the caller starred the item.
    fn starred(&self) -> bool;
    /// Returns whether the item has another owner than the caller.
    fn shared_with_me(&self) -> bool;
    /// Returns whether the item is directly in this folder; aliases are resolved.
    fn in_folder(&self, id: &str) -> bool;
    /// Returns whether the account is the owner, by address, name or `me`.
    fn owned_by(&self, who: &str) -> bool;
    /// Returns the last modification, in milliseconds since 1970.
    fn modified_ms(&self) -> i64;
    /// Returns the creation, in milliseconds since 1970.
    fn created_ms(&self) -> i64;
    /// Returns the value of a property.
    fn property(&self, private: bool, key: &str) -> Option<&str>;
}

impl Query {
    /// Parses a `q`, whose `renamed` terms have other names in v3.
    ///
    /// # Errors
    /// 400 `invalid` "Invalid Value" at `q` for text outside the query language.
    pub(crate) fn parse(text: &str, renamed: &[(&str, &str)]) -> Result<Self, DriveError> {
        let parsed = tokens(text).and_then(|mut tokens| {
            for token in &mut tokens {
                if let Token::Word(word) = token
                    && let Some((_, name)) = renamed.iter().find(|(other, _)| other == word)
                {
                    *word = (*name).to_owned();
                }
            }
            let mut parser = Parser {
                tokens: &tokens,
                depth: 0,
            };
            let query = parser.or_expression()?;
            parser.tokens.is_empty().then_some(query)
        });
        parsed.ok_or_else(|| DriveError::invalid("q"))
    }

    /// Returns whether the item matches the query.
    pub(crate) fn matches(&self, subject: &impl Searchable) -> bool {
        match self {
            Self::NameIs(name) => subject.name() == name,
            Self::NameContains(part) => any_word_starts_with(subject.name(), part),
            Self::MimeTypeIs(kind) => subject.mime_type() == kind,
            Self::MimeTypeContains(part) => subject.mime_type().starts_with(part.as_str()),
            Self::Trashed(wanted) => subject.trashed() == *wanted,
            Self::Starred(wanted) => subject.starred() == *wanted,
            Self::SharedWithMe(wanted) => subject.shared_with_me() == *wanted,
            Self::InParents(id) => subject.in_folder(id),
            Self::InOwners(who) => subject.owned_by(who),
            Self::ModifiedTime(comparison, ms) => comparison.holds(subject.modified_ms(), *ms),
            Self::CreatedTime(comparison, ms) => comparison.holds(subject.created_ms(), *ms),
            Self::Property {
                private,
                key,
                value,
            } => subject.property(*private, key) == Some(value),
            Self::And(left, right) => left.matches(subject) && right.matches(subject),
            Self::Or(left, right) => left.matches(subject) || right.matches(subject),
            Self::Not(inner) => !inner.matches(subject),
        }
    }

    /// Returns the folder that every match is in, if the query implies one: the search can be
    /// limited to it.
    pub(crate) fn folder(&self) -> Option<&str> {
        match self {
            Self::InParents(id) => Some(id),
            Self::And(left, right) => left.folder().or_else(|| right.folder()),
            Self::NameIs(_)
            | Self::NameContains(_)
            | Self::MimeTypeIs(_)
            | Self::MimeTypeContains(_)
            | Self::Trashed(_)
            | Self::Starred(_)
            | Self::SharedWithMe(_)
            | Self::InOwners(_)
            | Self::ModifiedTime(..)
            | Self::CreatedTime(..)
            | Self::Property { .. }
            | Self::Or(..)
            | Self::Not(_) => None,
        }
    }

    /// Returns whether `or` joins terms about folders.
    pub(crate) fn joins_parents(&self) -> bool {
        let joins = matches!(self, Self::Or(left, right)
            if left.names_parents() && right.names_parents());
        joins || self.parts().iter().any(|part| part.joins_parents())
    }

    fn names_parents(&self) -> bool {
        matches!(self, Self::InParents(_)) || self.parts().iter().any(|part| part.names_parents())
    }

    /// Returns the terms that this one consists of.
    fn parts(&self) -> Vec<&Self> {
        match self {
            Self::And(left, right) | Self::Or(left, right) => vec![left, right],
            Self::Not(inner) => vec![inner],
            Self::NameIs(_)
            | Self::NameContains(_)
            | Self::MimeTypeIs(_)
            | Self::MimeTypeContains(_)
            | Self::Trashed(_)
            | Self::Starred(_)
            | Self::SharedWithMe(_)
            | Self::InParents(_)
            | Self::InOwners(_)
            | Self::ModifiedTime(..)
            | Self::CreatedTime(..)
            | Self::Property { .. } => Vec::new(),
        }
    }
}

fn any_word_starts_with(name: &str, part: &str) -> bool {
    let (name, part) = (name.to_lowercase(), part.to_lowercase());
    name.match_indices(part.as_str()).any(|(at, _)| {
        name.get(..at)
            .and_then(|before| before.chars().next_back())
            .is_none_or(|before| !before.is_alphanumeric())
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Symbol(&'static str),
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    const SYMBOLS: [&str; 10] = ["<=", ">=", "!=", "=", "<", ">", "(", ")", "{", "}"];
    let (mut found, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            found.push(Token::Symbol(symbol));
            rest = rest.get(symbol.len()..)?;
        } else if first == '\'' || first == '"' {
            let (text, after) = quoted(rest.get(1..)?, first)?;
            found.push(Token::Text(text));
            rest = after;
        } else {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            found.push(Token::Word(rest.get(..end)?.to_owned()));
            rest = rest.get(end..)?;
        }
        rest = rest.trim_start();
    }
    Some(found)
}

/// Reads up to the closing quote; `\'` and `\\` are escapes.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            value.push(characters.next()?.1);
        } else if character == quote {
            return Some((value, text.get(at + quote.len_utf8()..)?));
        } else {
            value.push(character);
        }
    }
    None
}

/// The deepest nesting of parentheses: the parser is recursive.
const DEPTH_MAX: usize = 64;

struct Parser<'t> {
    tokens: &'t [Token],
    depth: usize,
}

impl Parser<'_> {
    fn or_expression(&mut self) -> Option<Query> {
        let mut query = self.and_expression()?;
        while self.word("or") {
            query = Query::Or(Box::new(query), Box::new(self.and_expression()?));
        }
        Some(query)
    }

    fn and_expression(&mut self) -> Option<Query> {
        let mut query = self.unary_expression()?;
        while self.word("and") {
            query = Query::And(Box::new(query), Box::new(self.unary_expression()?));
        }
        Some(query)
    }

    fn unary_expression(&mut self) -> Option<Query> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let query = if self.word("not") {
            Query::Not(Box::new(self.unary_expression()?))
        } else if self.symbol("(") {
            let inner = self.or_expression()?;
            self.symbol(")").then_some(inner)?
        } else {
            self.term()?
        };
        self.depth -= 1;
        Some(query)
    }

    fn term(&mut self) -> Option<Query> {
        match self.next()? {
            Token::Text(value) => {
                if !self.word("in") {
                    return None;
                }
                match self.next_word()?.as_str() {
                    "parents" => Some(Query::InParents(value)),
                    "owners" => Some(Query::InOwners(value)),
                    _ => None,
                }
            }
            Token::Word(name) => self.named(&name),
            Token::Symbol(_) => None,
        }
    }

    fn named(&mut self, name: &str) -> Option<Query> {
        match name {
            "name" => self.text_term(Query::NameIs, Query::NameContains),
            "mimeType" => self.text_term(Query::MimeTypeIs, Query::MimeTypeContains),
            "trashed" => self.flag(Query::Trashed),
            "starred" => self.flag(Query::Starred),
            "sharedWithMe" => match self.tokens.first() {
                Some(Token::Symbol("=" | "!=")) => self.flag(Query::SharedWithMe),
                _ => Some(Query::SharedWithMe(true)),
            },
            "modifiedTime" => self.time(Query::ModifiedTime),
            "createdTime" => self.time(Query::CreatedTime),
            "properties" => self.property(false),
            "appProperties" => self.property(true),
            _ => None,
        }
    }

    fn text_term(
        &mut self,
        is: fn(String) -> Query,
        contains: fn(String) -> Query,
    ) -> Option<Query> {
        if self.symbol("=") {
            self.next_text().map(is)
        } else if self.symbol("!=") {
            self.next_text()
                .map(|value| Query::Not(Box::new(is(value))))
        } else if self.word("contains") {
            self.next_text().map(contains)
        } else {
            None
        }
    }

    fn flag(&mut self, build: fn(bool) -> Query) -> Option<Query> {
        let equal = self.symbol("=");
        if !equal && !self.symbol("!=") {
            return None;
        }
        match self.next_word()?.as_str() {
            "true" => Some(build(equal)),
            "false" => Some(build(!equal)),
            _ => None,
        }
    }

    fn time(&mut self, build: fn(Comparison, i64) -> Query) -> Option<Query> {
        let Token::Symbol(symbol) = self.next()? else {
            return None;
        };
        let comparison = match symbol {
            "<" => Comparison::Before,
            "<=" => Comparison::NotAfter,
            "=" => Comparison::At,
            "!=" => Comparison::NotAt,
            ">=" => Comparison::NotBefore,
            ">" => Comparison::After,
            _ => return None,
        };
        Some(build(comparison, parse_time(&self.next_text()?)?))
    }

    fn property(&mut self, private: bool) -> Option<Query> {
        let opened = self.word("has") && self.symbol("{") && self.word("key") && self.symbol("=");
        let key = opened.then(|| self.next_text()).flatten()?;
        let joined = self.word("and") && self.word("value") && self.symbol("=");
        let value = joined.then(|| self.next_text()).flatten()?;
        self.symbol("}").then_some(Query::Property {
            private,
            key,
            value,
        })
    }

    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.clone())
    }

    fn take(&mut self, wanted: impl Fn(&Token) -> bool) -> bool {
        let found = self.tokens.first().is_some_and(wanted);
        if found {
            self.next();
        }
        found
    }

    fn word(&mut self, wanted: &str) -> bool {
        self.take(|token| matches!(token, Token::Word(word) if word == wanted))
    }

    fn symbol(&mut self, wanted: &str) -> bool {
        self.take(|token| matches!(token, Token::Symbol(symbol) if *symbol == wanted))
    }

    fn next_word(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(word) => Some(word),
            Token::Text(_) | Token::Symbol(_) => None,
        }
    }

    fn next_text(&mut self) -> Option<String> {
        match self.next()? {
            Token::Text(text) => Some(text),
            Token::Word(_) | Token::Symbol(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Report;

    impl Searchable for Report {
        fn name(&self) -> &str {
            "Annual Report (it's final).txt"
        }
        fn mime_type(&self) -> &str {
            "text/plain"
        }
        fn trashed(&self) -> bool {
            false
        }
        fn starred(&self) -> bool {
            true
        }
        fn shared_with_me(&self) -> bool {
            false
        }
        fn in_folder(&self, id: &str) -> bool {
            id == "folder"
        }
        fn owned_by(&self, who: &str) -> bool {
            who == "me"
        }
        fn modified_ms(&self) -> i64 {
            1_000
        }
        fn created_ms(&self) -> i64 {
            500
        }
        fn property(&self, private: bool, key: &str) -> Option<&str> {
            (!private && key == "state").then_some("draft")
        }
    }

    fn finds(q: &str) -> bool {
        Query::parse(q, &[])
            .unwrap_or_else(|error| panic!("{q}: {error}"))
            .matches(&Report)
    }

    #[test]
    fn each_term_matches_as_documented() {
        for q in [
            r"name = 'Annual Report (it\'s final).txt'",
            "name != 'other'",
            "name contains 'rep'",
            "mimeType = 'text/plain'",
            "mimeType != 'application/vnd.google-apps.folder'",
            "mimeType contains 'text/'",
            "trashed = false",
            "trashed!=true",
            "starred = true",
            "sharedWithMe = false",
            "'folder' in parents",
            "'me' in owners",
            "modifiedTime > '1970-01-01T00:00:00'",
            "modifiedTime <= '1970-01-01T00:00:01Z'",
            "createdTime < '1970-01-01T00:00:01Z'",
            "properties has {key='state' and value='draft'}",
            "properties has { key = \"state\" and value = \"draft\" }",
        ] {
            assert!(finds(q), "{q}");
        }
        for q in [
            "name contains 'port'",
            "appProperties has {key='state' and value='draft'}",
            "sharedWithMe",
            "not 'me' in owners",
        ] {
            assert!(!finds(q), "{q}");
        }
    }

    #[test]
    fn and_binds_tighter_than_or_and_parentheses_tighter_than_both() {
        assert!(finds(
            "starred = true or starred = false and trashed = true"
        ));
        assert!(!finds(
            "(starred = true or starred = false) and trashed = true"
        ));
        assert!(finds("not (trashed = true or not starred = true)"));
    }

    #[test]
    fn other_queries_are_refused_at_q() {
        for q in [
            "",
            "name",
            "name = x",
            "fullText contains 'x'",
            "name > 'x'",
            "trashed = maybe",
            "name = 'x",
            "(trashed = true",
            "trashed = true and",
            "modifiedTime > 'soon'",
            "'a' in writers",
        ] {
            assert_eq!(Query::parse(q, &[]), Err(DriveError::invalid("q")), "{q}");
        }
        assert_eq!(
            Query::parse(&"(".repeat(100_000), &[]),
            Err(DriveError::invalid("q"))
        );
    }

    #[test]
    fn a_query_limited_to_one_folder_is_recognized() {
        assert_eq!(
            Query::parse("trashed = false and 'f' in parents", &[])
                .expect("parses")
                .folder(),
            Some("f")
        );
        assert_eq!(
            Query::parse("trashed = false or 'f' in parents", &[])
                .expect("parses")
                .folder(),
            None
        );
    }
}
