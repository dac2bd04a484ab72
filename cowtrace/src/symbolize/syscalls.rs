//! Names of system calls.

use std::env::consts::ARCH;

use syscalls::{aarch64, x86_64};

/// The name of a system call of this machine, e.g. `read`; `None` = there is none with this number.
#[must_use]
pub fn name(number: i32) -> Option<&'static str> {
    name_on(ARCH, number)
}

/// The same of a kind of machine, by its name in [`crate::arch`]: each numbers them in its own way.
fn name_on(arch: &str, number: i32) -> Option<&'static str> {
    let number = usize::try_from(number).ok()?;
    match arch {
        "x86_64" => x86_64::Sysno::new(number).map(|call| call.name()),
        "aarch64" => aarch64::Sysno::new(number).map(|call| call.name()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (number, x86, arm) in [
            (0, Some("read"), Some("io_setup")),
            (63, Some("uname"), Some("read")),
            (310, Some("process_vm_readv"), None),
            (434, Some("pidfd_open"), Some("pidfd_open")),
            (-1, None, None),
            (100_000, None, None),
            (i32::MIN, None, None),
        ] {
            let named = (name_on("x86_64", number), name_on("aarch64", number));
            assert_eq!(named, (x86, arm), "{number}");
            assert_eq!(name_on("riscv64", number), None);
        }
        assert_eq!(name(434), Some("pidfd_open"));
    }
}
