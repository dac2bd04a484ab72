//! Names of system calls.

use syscalls::x86_64::Sysno;

/// The name of an x86-64 system call, e.g. `read`; `None` = there is none with this number.
#[must_use]
pub fn name(number: i32) -> Option<&'static str> {
    usize::try_from(number).ok().and_then(Sysno::new).map(|call| call.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name(0), Some("read"));
        assert_eq!(name(310), Some("process_vm_readv"));
        assert_eq!(name(434), Some("pidfd_open"));
        assert_eq!((name(-1), name(100_000), name(i32::MIN)), (None, None, None));
    }
}
