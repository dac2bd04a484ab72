//! Opening a file that a process has mapped: the right one, and without waiting.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::ObjectError;
use crate::process::maps::Mapping;

/// Opens a regular file for reading; never waits, as opening a FIFO would.
///
/// # Errors
/// When it cannot be opened or is something else.
pub fn open(path: &Path) -> Result<File, ObjectError> {
    let failed = |source| ObjectError::Open { path: path.to_owned(), source };
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_file() {
        return Ok(file);
    }
    Err(ObjectError::NotRegular { path: path.to_owned() })
}

/// Opens the file that a mapping shows.
///
/// The mapping itself names it for certain, but only to root and while the process lives; else the path serves, in the
/// process's view and in ours, if the file there has the same inode.
///
/// # Errors
/// When it is not found in any way, or is no regular file.
pub fn open_mapped(pid: u32, mapping: &Mapping) -> Result<File, ObjectError> {
    let (start, end) = (mapping.start, mapping.end);
    if let Ok(file) = open(Path::new(&format!("/proc/{pid}/map_files/{start:x}-{end:x}"))) {
        return Ok(file);
    }
    let path = mapping.path.clone().unwrap_or_default();
    let same = |file: &File| file.metadata().is_ok_and(|metadata| metadata.ino() == mapping.inode);
    let paths = mapping.path_to_open(pid).into_iter().chain([path.clone()]);
    paths.filter_map(|path| open(&path).ok()).find(same).ok_or(ObjectError::Replaced { path })
}
