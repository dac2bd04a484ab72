//! Files that cowtrace writes for the user: they belong to the user who called sudo, and the kernel's own rules decide
//! whether that user may write there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::{getegid, geteuid, getgroups, setegid, seteuid, setgroups};

use super::identity::Account;
use crate::diag::Notice;

/// Creates or empties a file as `owner`, or as cowtrace if there is none. To be called before the program starts and
/// before there are threads: for a moment the whole process has the owner's rights.
///
/// The file is for its owner alone: a trace holds names and bytes of the program. One that exists is written over only with
/// `force`, and keeps its mode.
///
/// # Errors
/// If the owner may not write there, or if it exists.
pub fn create(path: &Path, owner: Option<&Account>, force: bool) -> Result<File, Notice> {
    let open = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOCTTY);
        // Pipes, terminals and devices are there, and lose nothing by being written to.
        let is_file =
            path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() || metadata.is_symlink());
        let is_file = is_file && path.metadata().is_ok_and(|metadata| metadata.is_file());
        match (is_file, force) {
            (true, false) => Err(io::ErrorKind::AlreadyExists.into()),
            (true, true) => options.truncate(true).open(path),
            (false, _) if path.exists() => options.read(false).open(path),
            // Should somebody else create it at this moment, it is theirs.
            (false, _) => options.create_new(true).open(path),
        }
    };
    let opened = match owner {
        Some(account) => acting_as(account, open).flatten(),
        None => open(),
    };
    let exists = |source: &io::Error| source.kind() == io::ErrorKind::AlreadyExists;
    if opened.as_ref().is_err_and(exists) {
        return Err(Notice::Exists { path: path.into() });
    }
    opened.map_err(|source| Notice::CannotWrite { path: path.into(), caller: owner.is_some(), source })
}

/// Runs something with another user's rights. An error may leave cowtrace with fewer rights than it had, so it must end
/// the session.
fn acting_as<T>(account: &Account, act: impl FnOnce() -> T) -> io::Result<T> {
    let (uid, gid, groups) = (geteuid(), getegid(), getgroups()?);
    setgroups(&account.groups)?;
    let result = setegid(account.gid).and_then(|()| seteuid(account.uid)).map(|()| act());
    // The user first: only root may set the others back.
    seteuid(uid)?;
    setegid(gid)?;
    setgroups(&groups)?;
    Ok(result?)
}
