//! What this kernel is, what it lets cowtrace do, and where things lie in it.
//!
//! Answers are values: [`Error`] says what is missing, `diag` says it to the user. Nothing here loads or attaches.

pub mod btf;
pub mod capability;
pub mod fields;
pub mod hooks;
pub mod preemption;
mod registers;
pub mod rights;
pub mod rung;

use std::env::consts::ARCH;
use std::fs;
use std::io;
use std::path::Path;

use crate::diag::Notice;
use btf::{Btf, BtfError};
use capability::Effective;

/// Why this kernel cannot be traced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Capabilities that loading and attaching needs are not there.
    #[error("missing capabilities: {}", missing.join(", "))]
    NoPrivilege {
        /// Whether the user is root all the same, as in a container.
        root: bool,
        /// Their names, as in `CAP_BPF`.
        missing: Vec<&'static str>,
    },
    /// Process numbers are not the kernel's own.
    #[error("not in the initial PID namespace")]
    PidNamespace,
    /// The kernel is locked down so far that no program may read its memory.
    #[error("kernel lockdown is `confidentiality`")]
    Lockdown,
    /// The kernel does not describe its types.
    #[error("no {}", btf::KERNEL)]
    NoBtf,
    /// The kernel's description of its types cannot be read.
    #[error("BTF of the kernel")]
    Btf(#[source] BtfError),
    /// A field that cowtrace needs is not where it should be.
    #[error("kernel field")]
    NoField(#[source] BtfError),
    /// Nothing is known of this kind of machine.
    #[error("machines of the kind {0} are not known")]
    NoArchitecture(&'static str),
    /// A tracepoint is not there, or has fewer arguments than it should.
    #[error("no tracepoint {0}")]
    NoTracepoint(&'static str),
    /// The functions that faults are calls of cannot be attached to; why, by each way.
    #[error("no function can be attached to: {0}")]
    NoFunctions(String),
    /// The same on a kind of machine whose kernels have no tracepoints of page faults: there is no other way to see them.
    #[error("no function can be attached to, and there are no tracepoints of page faults: {0}")]
    NoFaults(String),
    /// Tracepoints of page faults are asked for where no kernel has them.
    #[error("no tracepoints of page faults")]
    NoExceptions,
    /// No ring buffer (Linux before 5.8).
    #[error("no BPF ring buffer")]
    NoRingBuffer,
    /// A file of the kernel cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<Error> for Notice {
    fn from(error: Error) -> Self {
        match error {
            Error::NoPrivilege { root: true, missing } => {
                Self::Confined { missing: missing.iter().map(ToString::to_string).collect() }
            }
            Error::NoPrivilege { root: false, .. } => Self::NotRoot,
            Error::PidNamespace => Self::PidNamespace,
            Error::Lockdown => Self::Lockdown,
            Error::NoBtf => Self::NoBtf { path: btf::KERNEL },
            Error::Btf(error) => Self::OddKernel { release: release(), what: error.to_string() },
            Error::NoField(error) => Self::OddKernel { release: release(), what: error.to_string() },
            Error::NoArchitecture(name) => Self::NoArchitecture { name },
            Error::NoTracepoint(name) => Self::NoTracepoint { name, release: release() },
            Error::NoFunctions(why) => Self::NoFunctions { release: release(), why },
            Error::NoFaults(why) => Self::NoFaults { release: release(), why },
            Error::NoExceptions => Self::NoExceptions { machine: ARCH },
            Error::NoRingBuffer => Self::NoRingBuffer { release: release() },
            Error::Unreadable { path, source } => Self::Unreadable { path: path.into(), source },
        }
    }
}

/// Inode of the initial PID namespace:
/// <https://github.com/torvalds/linux/blob/v6.18/include/linux/proc_ns.h>.
pub const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Checks what can be known before anything is loaded: privileges, namespaces, lockdown.
///
/// # Errors
/// With the first thing that stands in the way.
pub fn check_privileges() -> Result<(), Error> {
    const STATUS: &str = "/proc/self/status";
    let status = fs::read_to_string(STATUS).map_err(|source| Error::Unreadable { path: STATUS, source })?;
    let missing = Effective::of_status(&status).missing();
    if !missing.is_empty() {
        return Err(Error::NoPrivilege { root: nix::unistd::geteuid().is_root(), missing });
    }
    // The kernel half speaks of the kernel's own process numbers; a container's numbers name other processes.
    if fs::read_link("/proc/self/ns/pid").is_ok_and(|name| name != Path::new(INITIAL_PID_NAMESPACE)) {
        return Err(Error::PidNamespace);
    }
    // Not readable where securityfs is not mounted; the kernel then answers when the program is loaded.
    if lockdown().is_some_and(|mode| mode == CONFIDENTIALITY) {
        return Err(Error::Lockdown);
    }
    Ok(())
}

/// The lockdown under which no program may read the kernel's memory.
pub const CONFIDENTIALITY: &str = "confidentiality";

/// How far the kernel is locked down, in its own word; `None` = it does not say.
#[must_use]
pub fn lockdown() -> Option<String> {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let (_, rest) = modes.split_once('[')?;
    rest.split_once(']').map(|(mode, _)| mode.to_owned())
}

/// Reads the running kernel's types, and checks that it has ring buffers.
///
/// # Errors
/// If there are none, or they cannot be read.
pub fn types() -> Result<Btf, Error> {
    let bytes = fs::read(btf::KERNEL).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NoBtf,
        _ => Error::Unreadable { path: btf::KERNEL, source },
    })?;
    let btf = Btf::parse(bytes).map_err(Error::Btf)?;
    match btf.enumerator("BPF_MAP_TYPE_RINGBUF") {
        Some(_) => Ok(btf),
        None => Err(Error::NoRingBuffer),
    }
}

/// Release of the running kernel, as in `uname -r`.
#[must_use]
pub fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_a_version() {
        assert!(release().starts_with(|first: char| first.is_ascii_digit()), "{}", release());
    }

    #[test]
    fn every_error_becomes_a_notice() {
        let notice = Notice::from(Error::NoTracepoint("rss_stat")).to_string();
        assert!(notice.contains("rss_stat") && notice.contains(&release()), "{notice}");
        let field = Error::NoField(BtfError::NoStruct("task_struct".into()));
        assert!(Notice::from(field).to_string().contains("no struct task_struct"));
    }
}
