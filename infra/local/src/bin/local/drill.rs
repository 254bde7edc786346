//! `drill`: loses the table of a system at work, and restores it.

use std::time::Duration;

use local::rehearsal::drill::{Setup, drill as rehearse};

use crate::cli::{Arguments, Failure, one_line, say};
use crate::demo::temporary_folder;

/// Runs the drill in a temporary folder, which is left if something is wrong.
pub(crate) async fn drill(
    arguments: &Arguments,
    files: usize,
    people: usize,
    seconds: u64,
) -> Result<bool, Failure> {
    let folder = temporary_folder("drill")?;
    let setup = Setup {
        binary: std::env::current_exe().map_err(|error| one_line(&error))?,
        folder: folder.clone(),
        files,
        people,
        half: Duration::from_secs(seconds) / 2,
        content: !arguments.no_content,
    };
    let well = rehearse(&setup, say).await;
    match well {
        true => std::fs::remove_dir_all(&folder).map_err(|error| one_line(&error))?,
        false => eprintln!("local: everything is left in {}", folder.display()),
    }
    Ok(well)
}
