//! Which mappings are of hugetlbfs, and how large their pages are.
//!
//! The text of a maps file does not say it. Each hugetlbfs has its own device and page size: those that are mounted, and the
//! kernel's own, one for each size, behind `MAP_HUGETLB` and `MFD_HUGETLB`
//! (<https://github.com/torvalds/linux/blob/v6.18/fs/hugetlbfs/inode.c>, `hugetlb_file_setup`).

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use nix::libc::MFD_HUGE_SHIFT;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{major, minor};

use super::maps::Mapping;

/// A folder for each size of huge page that the kernel has.
const SIZES: &str = "/sys/kernel/mm/hugepages";

/// Bytes of a page of the mapping, if it is of a hugetlbfs that was there when this was first asked.
#[must_use]
pub fn page_size(mapping: &Mapping) -> Option<u64> {
    static SIZE_OF: OnceLock<HashMap<(u32, u32), u64>> = OnceLock::new();
    if mapping.inode == 0 {
        return None;
    }
    SIZE_OF.get_or_init(devices).get(&mapping.device).copied()
}

/// Whether the kernel has such pages to give, or may make some when asked.
#[must_use]
pub fn is_in_use() -> bool {
    let sizes = fs::read_dir(SIZES).into_iter().flatten().flatten();
    let number = |folder: &Path, name| -> u64 {
        let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    };
    sizes.map(|size| size.path()).any(|folder| {
        ["nr_hugepages", "nr_overcommit_hugepages"].iter().any(|name| number(&folder, name) > 0)
    })
}

/// Every hugetlbfs: its device and the size of its pages.
fn devices() -> HashMap<(u32, u32), u64> {
    let mut devices = HashMap::new();
    let mut add = |metadata: &Metadata| {
        let device = (number(major(metadata.dev())), number(minor(metadata.dev())));
        devices.insert(device, metadata.blksize());
    };
    for size in fs::read_dir(SIZES).into_iter().flatten().flatten() {
        let name = size.file_name();
        let kib = name.to_str().and_then(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB"));
        let Some(kib) = kib.and_then(|kib| kib.parse::<u64>().ok()).filter(|kib| kib.is_power_of_two())
        else {
            continue;
        };
        // An empty file takes no huge page.
        let size = MFdFlags::from_bits_retain((kib.ilog2() + 10) << MFD_HUGE_SHIFT);
        let made = memfd_create(c"cowtrace", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_HUGETLB | size);
        if let Some(metadata) = made.ok().and_then(|fd| File::from(fd).metadata().ok()) {
            add(&metadata);
        }
    }
    let mounts = procfs::process::Process::myself().and_then(|process| process.mountinfo());
    for mount in mounts.into_iter().flatten().filter(|mount| mount.fs_type == "hugetlbfs") {
        if let Ok(metadata) = mount.mount_point.metadata() {
            add(&metadata);
        }
    }
    devices
}

/// A part of a device's number, as maps files have it.
fn number<T: TryInto<u32>>(part: T) -> u32 {
    part.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's own file systems are found where it has sizes at all, and ordinary memory is none of them.
    #[test]
    fn the_kernels_own() {
        let sizes = fs::read_dir(SIZES).map_or(0, |sizes| sizes.count());
        let devices = devices();
        assert!(devices.len() >= sizes, "{devices:?}");
        assert!(devices.values().all(|size| *size > 4096 && size.is_power_of_two()), "{devices:?}");
        let maps = crate::process::maps::Maps::of(std::process::id()).unwrap();
        assert!(maps.iter().all(|mapping| page_size(mapping).is_none()));
    }
}
