//! Giving up privileges: what loads and attaches needs more than what reads afterwards, and what reads looks at memory and
//! files that the traced program has made.
//!
//! The kernel keeps capabilities by thread; a new thread has those of the one that starts it. A user number of 0 would give
//! all of them back at the next `execve`, which `no_new_privs` forbids
//! (<https://docs.kernel.org/userspace-api/no_new_privs.html>).

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// What the threads that read a traced program need: its memory and mappings (`SYS_PTRACE`), files that only others may read
/// (`DAC_READ_SEARCH`), files that were deleted (`CHECKPOINT_RESTORE`), and, before Linux 6.6, the kernel's tables at all
/// (`BPF`).
pub const READING: CapabilitySet = CapabilitySet::SYS_PTRACE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::CHECKPOINT_RESTORE)
    .union(CapabilitySet::BPF);

/// What the rest of a session needs once the probes are attached: it passes signals on to a command of another user
/// (`KILL`), and starts the thread that raises its own priority (`SYS_NICE`).
pub const SESSION: CapabilitySet = READING.union(CapabilitySet::KILL).union(CapabilitySet::SYS_NICE);

/// Gives up every capability of the current thread but these, for good.
///
/// # Errors
/// The kernel refuses it, which it does not do where it has capabilities.
pub fn keep(these: CapabilitySet) -> io::Result<()> {
    let permitted = capabilities(None)?.permitted;
    let sets = kept(permitted, these);
    set_no_new_privs(true)?;
    set_capabilities(None, sets)?;
    log::debug!("capabilities kept by this thread: {:?}", sets.permitted);
    Ok(())
}

/// These, as far as they are there; where a kernel or a container knows only `SYS_ADMIN` for some of them, that one too.
fn kept(permitted: CapabilitySet, these: CapabilitySet) -> CapabilitySets {
    let by_admin = CapabilitySet::BPF.union(CapabilitySet::CHECKPOINT_RESTORE);
    let stand_in =
        if permitted.contains(by_admin) { CapabilitySet::empty() } else { CapabilitySet::SYS_ADMIN };
    let permitted = permitted.intersection(these.union(stand_in));
    CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_was_there_and_is_needed() {
        assert_eq!(kept(CapabilitySet::all(), READING).permitted, READING);
        let few = CapabilitySet::BPF | CapabilitySet::PERFMON;
        assert_eq!(kept(few, SESSION).effective, CapabilitySet::BPF);
        let old = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_MODULE;
        assert_eq!(kept(old, READING).permitted, CapabilitySet::SYS_ADMIN);
        assert!(kept(CapabilitySet::all(), SESSION).inheritable.is_empty());
    }

    #[test]
    fn a_thread_gives_up_for_itself_alone() {
        let before = capabilities(None).unwrap().permitted;
        let thread = std::thread::spawn(|| {
            keep(CapabilitySet::empty()).unwrap();
            capabilities(None).unwrap().permitted
        });
        let left = thread.join().unwrap();
        assert!(!left.contains(CapabilitySet::SYS_MODULE) && !left.contains(CapabilitySet::SYS_PTRACE));
        assert_eq!(capabilities(None).unwrap().permitted, before);
    }
}
