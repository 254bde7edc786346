//! Files and folders that are their owner's alone.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The permissions of anybody but the owner.
const OTHERS: u32 = 0o077;

/// Creates a folder for its owner alone, and what is missing above it. An existing folder stays as
/// it is.
///
/// # Errors
/// The file system refuses.
pub fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Creates a folder that does not exist, for its owner alone.
///
/// # Errors
/// The file system refuses, or something has this name: in a folder that everybody may write to it
/// may be another user's.
pub fn create_new_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Writes a file that does not exist, for its owner alone.
///
/// # Errors
/// The file system refuses, or the file exists.
pub fn create_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Replaces a file as a whole, for its owner alone: a reader, or a killed process, sees the old or
/// the new content.
///
/// # Errors
/// The file system refuses. The file is as before.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // A file left by a killed process is removed, since the mode is only set on creation.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    create_file(&new, content)?;
    fs::rename(&new, path)
}

/// Takes the permissions of others from a file, or from a folder and everything in it, if it
/// exists. A folder is last, so that one without them has been finished.
///
/// # Errors
/// The file system refuses.
pub fn close(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mode = metadata.permissions().mode();
    if metadata.is_symlink() || mode & OTHERS == 0 {
        return Ok(());
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            close(&entry?.path())?;
        }
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & !OTHERS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::scratch::Scratch;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_created_or_replaced_is_the_owners_alone() {
        let scratch = Scratch::new().unwrap();
        assert_eq!(mode(scratch.path()), 0o700);
        let folder = scratch.path().join("a/b");
        create_folder(&folder).unwrap();
        create_folder(&folder).unwrap();
        assert!(create_new_folder(&folder).is_err());
        let file = folder.join("file");
        create_file(&file, b"1").unwrap();
        assert!(create_file(&file, b"2").is_err());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        replace_file(&file, b"3").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"3");
        for (path, expected) in [
            (&folder, 0o700),
            (&scratch.path().join("a"), 0o700),
            (&file, 0o600),
        ] {
            assert_eq!(mode(path), expected, "{}", path.display());
        }
    }

    #[test]
    fn what_others_could_read_is_closed_with_everything_in_it() {
        let scratch = Scratch::new().unwrap();
        let (open, kept) = (scratch.path().join("open"), scratch.path().join("kept"));
        fs::create_dir_all(open.join("in")).unwrap();
        fs::write(open.join("in/file"), "x").unwrap();
        fs::write(&kept, "x").unwrap();
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&kept, open.join("link")).unwrap();
        for path in [open.join("in/file"), open.join("in"), open.clone()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        close(&open).unwrap();
        assert_eq!(mode(&open), 0o700);
        assert_eq!(mode(&open.join("in")), 0o700);
        assert_eq!(mode(&open.join("in/file")), 0o700);
        assert_eq!(mode(&kept), 0o644, "beyond a link");
        close(&scratch.path().join("absent")).unwrap();
    }
}
