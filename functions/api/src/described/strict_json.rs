//! The JSON of a request, read strictly: a repeated member is refused, because which of its values
//! counts differs from reader to reader (RFC 8259, section 4).

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value as Json};

use crate::http::{Kind, Problem, pointer_part};

/// The byte order mark, which JSON must not begin with (RFC 8259, section 8.1).
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads the JSON of a body.
///
/// # Errors
/// The body is not UTF-8 or not JSON, or repeats a member, which the problem points at.
pub(crate) fn parse(bytes: &[u8]) -> Result<Json, Problem> {
    let malformed = |detail: String| Problem::new(Kind::MalformedBody, detail);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        malformed(format!("the body is not UTF-8: byte {at} is wrong"))
    })?;
    if text.trim_ascii().is_empty() {
        return Err(malformed(
            "the body is empty; send a JSON object".to_owned(),
        ));
    }
    if text.starts_with(BYTE_ORDER_MARK) {
        let detail = "the body begins with a byte order mark, which JSON has not";
        return Err(malformed(detail.to_owned()));
    }
    let read: Strict = serde_json::from_str(text).map_err(|error| malformed(explain(&error)))?;
    match read.repeated {
        None => Ok(read.json),
        Some(pointer) => Err(malformed("a member is given twice".to_owned()).at(pointer)),
    }
}

/// Says what is wrong with JSON, and where.
fn explain(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let what = error.to_string();
    let is = |words: &str| what.contains(words);
    let why = match error.classify() {
        Category::Eof => "it ends too early",
        Category::Syntax | Category::Data | Category::Io if is("recursion limit") => {
            "it is nested too deeply: more than 127 levels"
        }
        Category::Syntax | Category::Data | Category::Io if is("out of range") => {
            "a number is too large"
        }
        Category::Syntax | Category::Data | Category::Io if is("surrogate") || is("escape") => {
            "a text has an escape that stands for no character"
        }
        Category::Syntax | Category::Data | Category::Io if is("control character") => {
            "a text has a control character that is not escaped"
        }
        Category::Syntax | Category::Data | Category::Io if is("trailing comma") => {
            "a comma has nothing after it"
        }
        Category::Syntax | Category::Data | Category::Io if is("trailing characters") => {
            "something follows its end"
        }
        Category::Syntax | Category::Data | Category::Io if is("key must be") => {
            "the name of a member is not in double quotes"
        }
        Category::Syntax | Category::Data | Category::Io => "a character does not belong there",
    };
    format!("the body is not valid JSON: {why} (line {line}, column {column})")
}

/// A JSON value, and the pointer of the first member in it that is repeated.
struct Strict {
    json: Json,
    repeated: Option<String>,
}

impl From<Json> for Strict {
    fn from(json: Json) -> Self {
        Self {
            json,
            repeated: None,
        }
    }
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Json::Null.into())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Strict, E> {
        Ok(Json::Bool(flag).into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Strict, E> {
        Ok(Json::from(number).into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Strict, E> {
        Ok(Json::from(number).into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Strict, E> {
        let number = Number::from_f64(number);
        Ok(number.map_or(Json::Null, Json::Number).into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Strict, E> {
        Ok(Json::from(text).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Strict, A::Error> {
        let mut items = Vec::new();
        let mut repeated = None;
        while let Some(item) = access.next_element::<Strict>()? {
            let below = item
                .repeated
                .map(|below| format!("/{}{below}", items.len()));
            repeated = repeated.or(below);
            items.push(item.json);
        }
        Ok(Strict {
            json: Json::Array(items),
            repeated,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Strict, A::Error> {
        let mut members = Map::new();
        let mut repeated = None;
        while let Some((name, value)) = access.next_entry::<String, Strict>()? {
            let below = match members.contains_key(&name) {
                true => Some(String::new()),
                false => value.repeated,
            };
            let at = below.map(|below| format!("/{}{below}", pointer_part(&name)));
            repeated = repeated.or(at);
            members.insert(name, value.json);
        }
        Ok(Strict {
            json: Json::Object(members),
            repeated,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_read_as_it_is() {
        let text =
            br#" {"a": [1, -2, 1.5, "x", true, null, {}], "b": {"a": 18446744073709551615}} "#;
        let wanted = json!({"a": [1, -2, 1.5, "x", true, null, {}], "b": {"a": u64::MAX}});
        assert_eq!(parse(text).unwrap(), wanted);
    }

    #[test]
    fn a_repeated_member_is_refused_at_any_depth() {
        for (text, pointer) in [
            (r#"{"a":1,"a":1}"#, "/a"),
            (r#"{"a":{"b":[0,{"c/d":1,"e":2,"c/d":3}]}}"#, "/a/b/1/c~1d"),
            (r#"{"a":1,"b":{"c":1,"\u0063":1},"a":2}"#, "/b/c"),
        ] {
            let problem = parse(text.as_bytes()).unwrap_err();
            assert_eq!(problem.status(), 400, "{text}");
            assert_eq!(problem.body().pointer(), Some(pointer), "{text}");
        }
    }

    #[test]
    fn malformed_json_is_explained_in_terms_of_json() {
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        for (body, words) in [
            (&b"{\n\"a\""[..], "ends too early (line 2"),
            (b"", "is empty"),
            (b" \n", "is empty"),
            (b"\xff\xfe{}", "not UTF-8"),
            (b"{\"a\":\"\xc3\"}", "not UTF-8"),
            (b"\xef\xbb\xbf{}", "byte order mark"),
            (br#"{"a":"\ud800"}"#, "escape"),
            (br#"{"a":"\x"}"#, "escape"),
            (b"{\"a\":\"\n\"}", "control character"),
            (br#"{"a":1e999}"#, "too large"),
            (br#"{"a":1,}"#, "comma"),
            (br#"{"a":1}{}"#, "follows its end"),
            (br"{a:1}", "double quotes"),
            (br#"{"a":nul}"#, "does not belong there"),
            (br#"{"a":'x'}"#, "does not belong there"),
            (deep.as_bytes(), "nested too deeply"),
        ] {
            let shown = String::from_utf8_lossy(body);
            let problem = parse(body).unwrap_err();
            assert_eq!(problem.status(), 400, "{shown}");
            let detail = serde_json::to_value(problem.into_body()).unwrap();
            let detail = detail["detail"].as_str().unwrap();
            assert!(detail.contains(words), "{shown}: {detail}");
            for word in ["expected", "EOF", "at line"] {
                assert!(!detail.contains(word), "{shown}: {detail}");
            }
        }
    }
}
