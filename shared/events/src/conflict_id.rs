//! A conflict's id as one opaque text that fits into a URL: it contains the file, number and field.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{ConflictId, Field, FileId};

/// Returns the id as callers see it.
#[must_use]
pub fn encode(id: &ConflictId) -> String {
    // Neither a file id nor a number contains a line break, so the field may contain anything.
    URL_SAFE_NO_PAD.encode(format!("{}\n{}\n{}", id.file, id.number, id.field.label()))
}

/// The inverse of [`encode`]; `None` for any other text.
#[must_use]
pub fn parse(text: &str) -> Option<ConflictId> {
    let decoded = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let mut parts = decoded.splitn(3, '\n');
    let (file, number, label) = (parts.next()?, parts.next()?, parts.next()?);
    let id = ConflictId {
        file: FileId::parse(file).ok()?,
        number: number.parse().ok()?,
        field: Field::from_label(label)?,
    };
    // A conflict has exactly one id, although `+1` and `01` parse as numbers too.
    (encode(&id) == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflicts_id_reads_back_from_its_text() {
        for field in [
            Field::Name,
            Field::Existence,
            Field::Property("a\n/#ü".to_owned()),
        ] {
            let id = ConflictId {
                file: FileId::parse("1abc-DEF_0").unwrap(),
                field,
                number: 7,
            };
            let text = encode(&id);
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
            assert_eq!(parse(&text), Some(id));
        }
    }

    #[test]
    fn any_other_text_is_refused() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for bad in [
            "sample-conflict".to_owned(),
            String::new(),
            encode("1abc\n+7\nname"),
            encode("1abc\n07\nname"),
            encode("a/b\n7\nname"),
            encode("1abc\n7\ncolour"),
            encode("1abc\n7"),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }
}
