//! A conflict's id as one opaque text that fits into a URL: it holds the file, the number and the field.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{ConflictId, Field, FileId};

/// The id as callers see it.
pub(crate) fn encode(id: &ConflictId) -> String {
    // A file id holds no line break and a number none either, so the field may hold anything.
    URL_SAFE_NO_PAD.encode(format!("{}\n{}\n{}", id.file, id.number, id.field.label()))
}

/// The inverse of [`encode`]; `None` where it is no id of ours.
pub(crate) fn parse(text: &str) -> Option<ConflictId> {
    let decoded = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let mut parts = decoded.splitn(3, '\n');
    let (file, number, label) = (parts.next()?, parts.next()?, parts.next()?);
    let id = ConflictId {
        file: FileId::parse(file).ok()?,
        number: number.parse().ok()?,
        field: Field::from_label(label)?,
    };
    // One conflict has one id: `+1` and `01` are numbers too.
    (encode(&id) == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_conflict_has_one_id_and_reads_back_from_it() {
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
    fn what_is_no_id_of_ours_is_refused() {
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
