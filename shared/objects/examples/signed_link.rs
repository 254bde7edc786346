//! Prints a link that is signed with the key on standard input, for verifiers in other languages.
//! Argument: the seconds since 1970 at which it expires.

use std::io::{self, Write as _};

use domain::content::ObjectKey;
use domain::{TenantId, Timestamp};
use objects::{LinkKey, distribution_link};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds: i64 = std::env::args()
        .nth(1)
        .ok_or("the time is missing")?
        .parse()?;
    let key = LinkKey::parse(&io::read_to_string(io::stdin())?)?;
    let object = ObjectKey::staging(&TenantId::parse("acme")?, 1, 2);
    let link = distribution_link(
        "content.example.com",
        &key,
        &object,
        "Bericht \"für\" & 1+1=2 ~.txt",
        "text/plain; charset=utf-8",
        Timestamp::from_millis(seconds * 1_000),
    )?;
    Ok(writeln!(io::stdout(), "{}", link.as_str())?)
}
