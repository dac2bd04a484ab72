//! Checks of the kernel itself.

use super::Row;
use super::machine::{Machine, Trial, Types};
use crate::arch::Arch;
use crate::kernel::{self, CONFIDENTIALITY, btf};
use crate::page::PageSize;

/// The first release with ring buffers.
const FIRST_RELEASE: (u32, u32) = (5, 8);

const NEWER: &str = "use Linux 5.8 or later";
const WITH_TYPES: &str =
    "boot a kernel that was built with CONFIG_DEBUG_INFO_BTF=y, as those of current distributions are";

pub(super) fn rows(machine: &Machine) -> Vec<Row> {
    vec![
        release(machine),
        architecture(machine),
        page_size(machine),
        types(machine),
        fields(machine),
        lockdown(machine),
    ]
}

fn release(machine: &Machine) -> Row {
    const CHECK: &str = "release";
    let found = &machine.release;
    match version(found) {
        Some(version) if version >= FIRST_RELEASE => Row::ok(CHECK, format!("Linux {found}")),
        Some(_) => Row::missing(CHECK, format!("Linux {found} is older than 5.8"), NEWER),
        None => Row::not_checked(CHECK, format!("{found} is no version"), NEWER),
    }
}

/// Major and minor number of a release.
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn architecture(machine: &Machine) -> Row {
    const CHECK: &str = "architecture";
    let found = &machine.architecture;
    match Arch::named(found) {
        Some(arch) if arch.lacking.is_empty() => Row::ok(CHECK, found),
        Some(arch) => Row::limited(
            CHECK,
            format!("{found}. {}", arch.lacking.join(" ")),
            "run it on an x86-64 machine to see all of it",
        ),
        None => Row::missing(
            CHECK,
            found,
            "run it on an x86-64 machine: nothing is known of this one's registers",
        ),
    }
}

fn page_size(machine: &Machine) -> Row {
    const CHECK: &str = "page size";
    let found = format!("{} bytes", machine.page_size);
    match PageSize::of_bytes(machine.page_size) {
        Some(PageSize::SMALLEST) => Row::ok(CHECK, found),
        Some(_) => Row::limited(
            CHECK,
            format!("{found}. cowtrace has never been run with such: only its arithmetic was tested."),
            "compare a trace with what /proc/PID/smaps says before you rely on it",
        ),
        None => Row::missing(CHECK, found, "boot a kernel with pages of 4, 16 or 64 KiB"),
    }
}

fn types(machine: &Machine) -> Row {
    const CHECK: &str = "types (BTF)";
    match &machine.types {
        Ok(_) => Row::ok(CHECK, btf::KERNEL),
        Err(kernel::Error::NoBtf) => Row::missing(CHECK, format!("there is no {}", btf::KERNEL), WITH_TYPES),
        Err(kernel::Error::Unreadable { path, source }) => {
            Row::missing(CHECK, format!("{path} cannot be read: {source}"), "run it with sudo")
        }
        Err(kernel::Error::NoRingBuffer) => Row::missing(CHECK, "the kernel has no BPF ring buffers", NEWER),
        Err(error) => {
            let found =
                std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
            Row::missing(CHECK, found, "a newer cowtrace may know this kernel; please report it")
        }
    }
}

fn fields(machine: &Machine) -> Row {
    const CHECK: &str = "structures";
    let Ok(Types { fields, .. }) = &machine.types else {
        return Row::not_checked(CHECK, "not known without the kernel's types", WITH_TYPES);
    };
    match fields {
        Ok(fields) if fields.missing.is_empty() => Row::ok(CHECK, "every field that is read is there"),
        Ok(fields) => Row::limited(
            CHECK,
            fields.missing.join(" "),
            "a newer cowtrace may know this kernel; please report it",
        ),
        Err(error) => {
            let found =
                std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
            Row::missing(CHECK, found, "a newer cowtrace may know this kernel; please report it")
        }
    }
}

fn lockdown(machine: &Machine) -> Row {
    const CHECK: &str = "lockdown";
    match &machine.lockdown {
        Some(mode) if mode == CONFIDENTIALITY => {
            let found = format!("{mode}: no probe may read memory");
            Row::missing(CHECK, found, "boot with lockdown=integrity or less")
        }
        Some(mode) => Row::ok(CHECK, mode),
        None if matches!(machine.trial, Trial::Worked { .. }) => {
            Row::ok(CHECK, "the kernel does not say, but lets the probes in")
        }
        None => Row::not_checked(
            CHECK,
            "the kernel does not say",
            "run it with sudo: whether the probes get in shows it",
        ),
    }
}
