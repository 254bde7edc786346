//! `why`: says why a file, or each connection, of a running system is as it is.

use serde_json::Value;

use crate::caller::{Caller, items, text};
use crate::cli::{Arguments, Failure, say};

/// Prints the reasons, and returns whether there were any: whether a connection knows the file.
pub(crate) async fn why(arguments: &Arguments, file: Option<&str>) -> Result<bool, Failure> {
    let caller = Caller::new(arguments)?;
    let listed = caller.get("/v1/connections", &[]).await?;
    let mut found = false;
    for connection in items(&listed.unwrap_or_default(), "/items") {
        let id = text(connection, "/id");
        let path = match file {
            Some(file) => format!("/v1/connections/{id}/files/{file}/why"),
            None => format!("/v1/connections/{id}/why"),
        };
        let Some(answer) = caller.get(&path, &[]).await? else {
            continue;
        };
        found = true;
        if arguments.json {
            say(&answer.to_string());
            continue;
        }
        say(&format!("{} ({id})", text(connection, "/name")));
        say_reason(&answer);
        items(&answer, "/also").for_each(say_reason);
    }
    if !found {
        eprintln!("local: no connection has {}", file.unwrap_or("been made"));
    }
    Ok(found)
}

/// Prints a reason, and what can be done.
fn say_reason(reason: &Value) {
    say(&format!("  {}", text(reason, "/sentence")));
    match text(reason, "/what_to_do") {
        "" => {}
        what => say(&format!("    {what}")),
    }
}
