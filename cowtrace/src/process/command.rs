//! A command made ready for exec: everything that takes memory or looks something up, done before the fork.

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::io::{self, Read as _};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;

use super::identity::{Account, environment};
use crate::diag::Notice;

/// Where commands are looked for without `PATH`, as in glibc's `execvp`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// Runs files that are executable but not a program, as `execvp` and every shell do.
const SHELL: &CStr = c"/bin/sh";

/// A command, its user and its environment.
#[derive(Debug)]
pub struct Command {
    /// What the user wrote.
    name: PathBuf,
    /// Whom it runs as, if not as cowtrace.
    pub(super) account: Option<Account>,
    /// Whether it is looked for in `PATH`.
    pub(super) searched: bool,
    /// Files to try, in order.
    pub(super) candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// Descriptors that become its streams.
    pub(super) streams: Streams,
}

/// Descriptors that become stdin, stdout and stderr of a command; `None` = it gets cowtrace's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams(pub [Option<RawFd>; 3]);

/// Null-terminated lists of pointers into a [`Command`], as exec takes them.
pub(super) struct Pointers<'a> {
    pub(super) arguments: Vec<*const c_char>,
    pub(super) environment: Vec<*const c_char>,
    /// `sh FILE ARGUMENTS…`, the file yet to be filled in.
    pub(super) script: Vec<*const c_char>,
    pub(super) shell: &'static CStr,
    pub(super) groups: Vec<libc::gid_t>,
    pub(super) of: &'a Command,
}

impl Command {
    /// Makes a command with cowtrace's own environment, changed as the user's account asks.
    ///
    /// # Errors
    /// If it is empty or has a NUL byte in it.
    pub fn new(arguments: &[OsString], account: Option<Account>) -> Result<Self, Notice> {
        let name = arguments.first().map(PathBuf::from).unwrap_or_default();
        let variables = environment(std::env::vars_os(), account.as_ref());
        let path = variables.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
        let invalid = |_| Notice::CannotRun {
            command: name.clone(),
            source: io::Error::from_raw_os_error(libc::EINVAL),
        };
        let searched = !name.as_os_str().as_bytes().contains(&b'/');
        let candidates = candidates(name.as_os_str(), path.unwrap_or_else(|| OsStr::new(DEFAULT_PATH)));
        Ok(Self {
            searched,
            candidates: strings(candidates.into_iter()).map_err(invalid)?,
            arguments: strings(arguments.iter().map(|word| word.as_bytes().to_vec())).map_err(invalid)?,
            environment: strings(
                variables.into_iter().map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'=')),
            )
            .map_err(invalid)?,
            account,
            name,
            streams: Streams::default(),
        })
    }

    /// Gives it other streams than cowtrace's own. The descriptors are to be open until the command runs.
    #[must_use]
    pub fn with(self, streams: Streams) -> Self {
        Self { streams, ..self }
    }

    pub(super) fn pointers(&self) -> Pointers<'_> {
        let list = |strings: &[CString]| -> Vec<*const c_char> {
            strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
        };
        let arguments = list(&self.arguments);
        let script = [SHELL.as_ptr(), ptr::null()];
        Pointers {
            script: script.into_iter().chain(arguments.iter().skip(1).copied()).collect(),
            arguments,
            environment: list(&self.environment),
            shell: SHELL,
            groups: self
                .account
                .iter()
                .flat_map(|account| &account.groups)
                .map(|group| group.as_raw())
                .collect(),
            of: self,
        }
    }

    /// Words for an exec that failed with `source`.
    pub(super) fn cannot_run(&self, source: io::Error) -> Notice {
        let command = self.name.clone();
        if source.raw_os_error() != Some(libc::ENOENT) {
            return Notice::CannotRun { command, source };
        }
        let paths = self.candidates.iter().map(|path| Path::new(OsStr::from_bytes(path.as_bytes())));
        // The file is there: what is not is the program that the kernel starts to run it.
        match paths.into_iter().find(|path| path.is_file()).map(interpreter) {
            Some(Some(interpreter)) => Notice::NoInterpreter { command, interpreter },
            Some(None) => Notice::NoLoader { command },
            None => Notice::CommandNotFound { command },
        }
    }
}

/// Files that a command's name may mean, in the order in which a shell tries them.
fn candidates(name: &OsStr, path: &OsStr) -> Vec<Vec<u8>> {
    let name = name.as_bytes();
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains(&b'/') {
        return vec![name.to_vec()];
    }
    let folders = path.as_bytes().split(|byte| *byte == b':');
    // An empty entry is the current folder.
    folders
        .map(|folder| if folder.is_empty() { [b"./", name].concat() } else { [folder, b"/", name].concat() })
        .collect()
}

fn strings(words: impl Iterator<Item = Vec<u8>>) -> Result<Vec<CString>, std::ffi::NulError> {
    words.map(CString::new).collect()
}

/// The interpreter that a script's first line names.
fn interpreter(script: &Path) -> Option<PathBuf> {
    first_line(script)?.into_iter().next().map(PathBuf::from)
}

/// The words of a script's first line, which name its interpreter and what that gets; `None` = it is no script.
#[must_use]
pub fn first_line(script: &Path) -> Option<Vec<OsString>> {
    let mut head = Vec::new();
    // As much as the kernel looks at: BINPRM_BUF_SIZE,
    // https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/binfmts.h
    super::object::open(script).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let words = line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).filter(|word| !word.is_empty());
    Some(words.map(|word| OsStr::from_bytes(word).to_owned()).collect())
}

/// Files that a command's name may mean with this process's own `PATH`, in the order in which a shell tries them.
#[must_use]
pub fn files(name: &OsStr) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    candidates(name, &path).into_iter().map(|path| OsString::from_vec(path).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(name: &str, path: &str) -> Vec<String> {
        let found = candidates(OsStr::new(name), OsStr::new(path));
        found.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn a_name_is_looked_for_in_the_path() {
        assert_eq!(tried("ls", "/a:/b"), ["/a/ls", "/b/ls"]);
        assert_eq!(tried("ls", ":/b:"), ["./ls", "/b/ls", "./ls"]);
        assert_eq!(tried("./ls", "/a"), ["./ls"]);
        assert_eq!(tried("/bin/ls", "/a"), ["/bin/ls"]);
        assert!(tried("", "/a").is_empty());
    }

    #[test]
    fn a_command_with_a_nul_byte_is_refused() {
        let refused = Command::new(&["a".into(), "b\0c".into()], None);
        assert!(matches!(refused, Err(Notice::CannotRun { .. })));
    }

    #[test]
    fn lists_end_with_null_and_scripts_get_a_place_for_their_path() {
        let command = Command::new(&["a".into(), "b".into()], None).unwrap();
        let pointers = command.pointers();
        assert_eq!(pointers.arguments.len(), 3);
        assert_eq!(pointers.script.len(), 4);
        assert!(
            pointers.arguments[2].is_null() && pointers.script[1].is_null() && pointers.script[3].is_null()
        );
        assert_eq!(pointers.script[2], pointers.arguments[1]);
    }
}
