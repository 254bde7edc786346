//! The cause of a message: a member at the end of its body.

use std::borrow::Cow;

use domain::Cause;

/// The member of a body that holds its cause. It is always the last one: a body without it is what
/// deduplication ids and the ids of dead letters are made of.
const CAUSE_MEMBER: &str = r#","cause_id":""#;

/// Adds the cause to a body, unless it has one.
pub(crate) fn with_cause(mut body: String, cause: Cause) -> String {
    if split_cause(&body).is_none() && body.pop() == Some('}') {
        body.push_str(&format!("{CAUSE_MEMBER}{cause}\"}}"));
    }
    body
}

fn split_cause(body: &str) -> Option<(&str, Cause)> {
    let (rest, text) = body.strip_suffix("\"}")?.rsplit_once(CAUSE_MEMBER)?;
    Some((rest, Cause::parse(text)?))
}

/// Returns the cause that a body was sent with; `None` if it has none, as the bodies of earlier
/// builds.
#[must_use]
pub fn cause_of(body: &str) -> Option<Cause> {
    split_cause(body).map(|(_, cause)| cause)
}

/// Returns a body without the cause that it was sent with.
#[must_use]
pub fn without_cause(body: &str) -> Cow<'_, str> {
    match split_cause(body) {
        Some((rest, _)) => Cow::Owned(format!("{rest}}}")),
        None => Cow::Borrowed(body),
    }
}

#[cfg(test)]
mod tests {
    use domain::{ConnectionId, ConnectionKey, TenantId};

    use super::*;
    use crate::PushWake;

    #[test]
    fn a_body_with_a_cause_reads_as_without_and_the_cause_comes_off_again() {
        let wake = PushWake {
            key: ConnectionKey {
                tenant: TenantId::parse("acme").unwrap(),
                connection: ConnectionId::parse("c_01").unwrap(),
            },
        };
        let body = wake.to_body();
        let cause = Cause::fresh(1, u64::MAX);
        let sent = with_cause(body.clone(), cause);
        assert_eq!(PushWake::from_body(&sent).unwrap(), wake);
        assert_eq!(cause_of(&sent), Some(cause));
        assert_eq!(with_cause(sent.clone(), Cause::fresh(0, 0)), sent);
        assert_eq!(without_cause(&sent), body);
        let damaged = sent.replace("ffff", "FFFF");
        for other in ["", "{", "{}", &body, &damaged] {
            assert_eq!(cause_of(other), None);
            assert_eq!(without_cause(other), *other);
        }
    }
}
