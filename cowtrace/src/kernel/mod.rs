//! What this kernel is, what it lets cowtrace do, and where things lie in it.
//!
//! Answers are values: [`Error`] says what is missing, `diag` says it to the user. Nothing here loads or attaches.

pub mod btf;
pub mod fields;
pub mod hooks;

use std::fs;
use std::io;
use std::path::Path;

use crate::diag::Notice;
use btf::{Btf, BtfError};

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
    /// A tracepoint is not there, or has fewer arguments than it should.
    #[error("no tracepoint {0}")]
    NoTracepoint(&'static str),
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
            Error::NoTracepoint(name) => Self::NoTracepoint { name, release: release() },
            Error::NoRingBuffer => Self::NoRingBuffer { release: release() },
            Error::Unreadable { path, source } => Self::Unreadable { path: path.into(), source },
        }
    }
}

/// Capabilities by their number:
/// <https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/capability.h>.
const CAPABILITIES: [(u32, &str); 2] = [(38, "CAP_PERFMON"), (39, "CAP_BPF")];
/// `CAP_SYS_ADMIN`, which stands for both of [`CAPABILITIES`].
const SYS_ADMIN: u32 = 21;

/// Inode of the initial PID namespace:
/// <https://github.com/torvalds/linux/blob/v6.18/include/linux/proc_ns.h>.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Checks what can be known before anything is loaded: privileges, namespaces, lockdown.
///
/// # Errors
/// With the first thing that stands in the way.
pub fn check_privileges() -> Result<(), Error> {
    const STATUS: &str = "/proc/self/status";
    let status = fs::read_to_string(STATUS).map_err(|source| Error::Unreadable { path: STATUS, source })?;
    let missing = missing_capabilities(&status);
    if !missing.is_empty() {
        return Err(Error::NoPrivilege { root: nix::unistd::geteuid().is_root(), missing });
    }
    // The kernel half speaks of the kernel's own process numbers; a container's numbers name other processes.
    if fs::read_link("/proc/self/ns/pid").is_ok_and(|name| name != Path::new(INITIAL_PID_NAMESPACE)) {
        return Err(Error::PidNamespace);
    }
    // Not readable where securityfs is not mounted; the kernel then answers when the program is loaded.
    if fs::read_to_string("/sys/kernel/security/lockdown")
        .is_ok_and(|mode| mode.contains("[confidentiality]"))
    {
        return Err(Error::Lockdown);
    }
    Ok(())
}

/// Names of the capabilities that are needed and not effective.
fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let has = |number: u32| effective >> number & 1 == 1;
    CAPABILITIES
        .iter()
        .filter(|(number, _)| !has(*number) && !has(SYS_ADMIN))
        .map(|(_, name)| *name)
        .collect()
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
    fn capabilities_are_read_from_the_status_file() {
        let status =
            |mask: &str| format!("Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t{mask}\nCapBnd:\tff\n");
        assert!(missing_capabilities(&status("000001ffffffffff")).is_empty());
        assert!(missing_capabilities(&status("000000c000000000")).is_empty());
        assert!(missing_capabilities(&status("0000000000200000")).is_empty());
        assert_eq!(missing_capabilities(&status("0000008000000000")), ["CAP_PERFMON"]);
        assert_eq!(missing_capabilities(&status("0000000000000000")), ["CAP_PERFMON", "CAP_BPF"]);
        assert_eq!(missing_capabilities("").len(), 2);
    }

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
