//! Starts the command suspended: it exists, so that the kernel side can be told to follow it, and runs nothing until
//! [`Suspended::release`].
//!
//! The command must not be able to tell that cowtrace started it. So it stays in the process group, session and terminal;
//! gets the signal mask and dispositions that cowtrace was given; and finds only the descriptors that cowtrace was given,
//! for all of cowtrace's own close on exec. What cowtrace changes about itself after [`suspend`] (priority, limits, signal
//! handlers) does not reach it.
//!
//! One thing cannot be told: Rust's runtime ignores SIGPIPE before `main`, so whether it was ignored already is lost. The
//! command gets the default action.
#![expect(unsafe_code, reason = "fork, and the system calls between fork and exec, have no safe form")]

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::{mem, ptr};

use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{Pid, pipe2};

use super::child::Child;
use super::command::{Command, Pointers};
use crate::diag::{self, Notice};

/// Signal state that cowtrace was started with. To be taken first of all in `main`, before any handler is set.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    mask: SigSet,
    /// Bit n - 1 for each ignored signal n.
    ignored: u64,
}

impl Inherited {
    /// Takes it down.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn capture() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        let sigpipe = 1_u64 << (libc::SIGPIPE - 1);
        Ok(Self { mask: SigSet::thread_get_mask()?, ignored: ignored & !sigpipe })
    }
}

/// Where the child was when it failed, first word of its report.
#[derive(Clone, Copy)]
#[repr(i32)]
enum Stage {
    Groups = 1,
    Group = 2,
    User = 3,
    Exec = 4,
    Streams = 5,
}

/// A command that has been started and waits.
#[derive(Debug)]
pub struct Suspended<'a> {
    child: Option<Child>,
    command: &'a Command,
    go: Option<File>,
    report: File,
}

/// Descriptors of the child's ends, and of the parent's that it has to close.
struct Ends {
    go: RawFd,
    report: RawFd,
    close: [RawFd; 2],
}

/// Starts a command, up to its first own instruction.
///
/// # Errors
/// If there can be no further process.
pub fn suspend<'a>(command: &'a Command, inherited: &Inherited) -> Result<Suspended<'a>, Notice> {
    let failed = |what| move |errno: nix::Error| Notice::CannotStart { what, source: errno.into() };
    let (wait, go) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
    let (report, write) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
    let close = [go.as_raw_fd(), report.as_raw_fd()];
    let ends = Ends { go: wait.as_raw_fd(), report: write.as_raw_fd(), close };
    let mut pointers = command.pointers();
    // No handler of cowtrace's may run in the child, where it would speak into cowtrace's own pipes.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(failed("signal mask"))?;
    // SAFETY: the child runs nothing but `child`, which keeps to what is allowed after fork in a process with threads.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child(&mut pointers, inherited, &ends);
    }
    let forked = nix::Error::result(pid).map_err(failed("fork"));
    mask.thread_set_mask().map_err(failed("signal mask"))?;
    let child = Child::new(Pid::from_raw(forked?));
    Ok(Suspended { child: Some(child), command, go: Some(go.into()), report: report.into() })
}

/// What happens in the child: system calls only. No memory is taken, no lock, nothing that can panic.
fn child(pointers: &mut Pointers<'_>, inherited: &Inherited, ends: &Ends) -> ! {
    let refuse = |stage: Stage, errno: i32| -> ! {
        let report = [stage as i32, errno];
        // SAFETY: the pointer and length are those of `report`; the process ends without running any exit handler.
        unsafe {
            libc::write(ends.report, report.as_ptr().cast(), size_of_val(&report));
            libc::_exit(i32::from(diag::FAILED))
        }
    };
    // SAFETY: every call is async-signal-safe, and every pointer is to a live local, to `inherited`, or to the strings of
    // the command, which the fork copied. The identity calls go past the C library, which would look for other threads.
    unsafe {
        for fd in ends.close {
            libc::close(fd);
        }
        for (stream, fd) in (0..).zip(pointers.of.streams.0) {
            if fd.is_some_and(|fd| libc::dup2(fd, stream) < 0) {
                refuse(Stage::Streams, *libc::__errno_location());
            }
        }
        for number in 1..=64 {
            let mut action: libc::sigaction = mem::zeroed();
            let ignored = inherited.ignored >> (number - 1) & 1 == 1;
            action.sa_sigaction = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
            libc::sigaction(number, &raw const action, ptr::null_mut());
        }
        if let Some(account) = &pointers.of.account {
            let (uid, gid) = (account.uid.as_raw(), account.gid.as_raw());
            if libc::syscall(libc::SYS_setgroups, pointers.groups.len(), pointers.groups.as_ptr()) != 0 {
                refuse(Stage::Groups, *libc::__errno_location());
            }
            if libc::syscall(libc::SYS_setresgid, gid, gid, gid) != 0 {
                refuse(Stage::Group, *libc::__errno_location());
            }
            if libc::syscall(libc::SYS_setresuid, uid, uid, uid) != 0 {
                refuse(Stage::User, *libc::__errno_location());
            }
        }
        libc::sigprocmask(libc::SIG_SETMASK, inherited.mask.as_ref(), ptr::null_mut());
        let mut go = 0_u8;
        // The end of the pipe without a word means that cowtrace has gone.
        if libc::read(ends.go, (&raw mut go).cast(), 1) != 1 {
            libc::_exit(i32::from(diag::FAILED));
        }
    }
    refuse(Stage::Exec, execute(pointers))
}

/// Tries each candidate as `execvp` does, and returns why none could be run.
fn execute(pointers: &mut Pointers<'_>) -> i32 {
    let mut denied = false;
    for path in &pointers.of.candidates {
        // SAFETY: the lists end with null and point to live strings that end with NUL. Only system calls are made.
        let errno = unsafe {
            libc::execve(path.as_ptr(), pointers.arguments.as_ptr(), pointers.environment.as_ptr());
            *libc::__errno_location()
        };
        match errno {
            libc::ENOEXEC if is_text(path) => {
                if let Some(script) = pointers.script.get_mut(1) {
                    *script = path.as_ptr();
                }
                // SAFETY: as above.
                unsafe {
                    let environment = pointers.environment.as_ptr();
                    libc::execve(pointers.shell.as_ptr(), pointers.script.as_ptr(), environment);
                }
                return errno;
            }
            _ if !pointers.of.searched => return errno,
            // A folder in PATH that this user may not enter holds nothing for them.
            // SAFETY: the path is a live string that ends with NUL.
            libc::EACCES => denied |= unsafe { libc::access(path.as_ptr(), libc::F_OK) } == 0,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            _ => return errno,
        }
    }
    if denied { libc::EACCES } else { libc::ENOENT }
}

/// Whether a file that is no program is a script: as in shells, there is no NUL byte in its first line.
fn is_text(path: &std::ffi::CStr) -> bool {
    let mut head = [0_u8; 128];
    // SAFETY: the path ends with NUL; the buffer and its length belong together.
    let length = unsafe {
        let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        libc::read(file, head.as_mut_ptr().cast(), head.len())
    };
    // One that cannot be read is left to the shell to refuse.
    let head = usize::try_from(length).ok().and_then(|length| head.get(..length)).unwrap_or_default();
    !head.iter().take_while(|byte| **byte != b'\n').any(|byte| *byte == 0)
}

impl Suspended<'_> {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.child.as_ref().map_or(Pid::from_raw(0), Child::pid)
    }

    /// Lets it go.
    ///
    /// # Errors
    /// If the command cannot be run, in words that tell why.
    pub fn release(mut self) -> Result<Child, Notice> {
        let failed = |what| move |source| Notice::CannotStart { what, source };
        if let Some(mut go) = self.go.take() {
            match go.write_all(&[1]) {
                // It was killed while it waited: its status will tell.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                done => done.map_err(failed("pipe"))?,
            }
        }
        let mut report = Vec::new();
        self.report.read_to_end(&mut report).map_err(failed("pipe"))?;
        let word = |at: usize| Some(i32::from_ne_bytes(report.get(at..at + 4)?.try_into().ok()?));
        let (Some(stage), Some(errno)) = (word(0), word(4)) else {
            return self
                .child
                .take()
                .ok_or_else(|| Notice::Other("the command was released twice".to_owned()));
        };
        let source = io::Error::from_raw_os_error(errno);
        let what = match stage {
            stage if stage == Stage::Groups as i32 => "setgroups",
            stage if stage == Stage::Group as i32 => "setgid",
            stage if stage == Stage::User as i32 => "setuid",
            stage if stage == Stage::Streams as i32 => "dup2",
            _ => return Err(self.command.cannot_run(source)),
        };
        Err(Notice::CannotStart { what, source })
    }
}

impl Drop for Suspended<'_> {
    /// A command that was never released, or could not be run, ends by itself once its pipe does.
    fn drop(&mut self) {
        self.go = None;
        if let Some(mut child) = self.child.take() {
            let _already_gone = child.wait();
        }
    }
}

/// Waits for a child with `waitpid`'s options; `None` = nothing has happened.
pub(super) fn changed(pid: Pid, options: i32) -> io::Result<Option<ExitStatus>> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a live local.
        match unsafe { libc::waitpid(pid.as_raw(), &raw mut status, options) } {
            0 => return Ok(None),
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return Err(io::Error::last_os_error()),
            _ => return Ok(Some(ExitStatus::from_raw(status))),
        }
    }
}
