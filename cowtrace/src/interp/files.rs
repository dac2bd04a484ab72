//! Where an interpreter may be: the files of a process that are looked at, and why one is not what it seems.

use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use super::Target;
use crate::process::maps::{Kind, Mapping};

/// Why an interpreter cannot be used, or not yet.
#[derive(Debug)]
pub(super) enum Misfit {
    /// It is starting, or has ended.
    NotYet,
    /// Its memory is not what the layout says.
    Wrong(&'static str),
    /// Its memory could not be read.
    Memory(io::Error),
}

impl From<io::Error> for Misfit {
    fn from(error: io::Error) -> Self {
        Self::Memory(error)
    }
}

/// The code mappings of the files that may hold an interpreter: the executable, and the libraries whose names begin so.
pub(super) fn candidates<'a>(
    target: &Target<'a>,
    library: &'static [u8],
) -> impl Iterator<Item = &'a Mapping> + use<'a> {
    let executable = std::fs::read_link(format!("/proc/{}/exe", target.pid)).ok();
    let is_executable = move |mapping: &Mapping| {
        let link = executable.as_deref().map(|path| path.as_os_str().as_bytes());
        let link = link.map(|bytes| bytes.strip_suffix(b" (deleted)").unwrap_or(bytes));
        link.is_some() && link == mapping.path.as_deref().map(|path| path.as_os_str().as_bytes())
    };
    let mut seen = HashSet::new();
    target.maps.iter().filter(move |mapping| {
        mapping.kind == Kind::File
            && mapping.executable
            && (is_library(mapping, library) || is_executable(mapping))
            && seen.insert((mapping.device, mapping.inode, mapping.path.clone()))
    })
}

/// Whether a mapping shows a library whose name begins so.
pub(super) fn is_library(mapping: &Mapping, name: &[u8]) -> bool {
    mapping.file_name().is_some_and(|file| file.starts_with(name))
}
