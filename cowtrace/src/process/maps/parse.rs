//! The text of a maps file.
//!
//! Own parser over bytes, because paths need not be UTF-8. The kernel's format is ambiguous in two places: a newline in a
//! path is written `\012`, a backslash as itself; and ` (deleted)` may be part of a name. Both are read the common way.
//! <https://github.com/torvalds/linux/blob/v6.12/fs/proc/task_mmu.c>

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::{Kind, Mapping};

/// `start-end perms offset major:minor inode    name`
pub(super) fn line(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (field, tail) = rest.split_at(end);
        rest = tail.get(1..).unwrap_or_default();
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let (start, end) = (hex(start)?, hex(end)?);
    let permissions = field()?.as_bytes();
    let &[read, write, execute, share] = permissions else { return None };
    let offset = hex(field()?)?;
    let (major, minor) = field()?.split_once(':')?;
    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let inode = field()?.parse().ok()?;
    let name = rest.trim_ascii_start();
    let shared = share == b's';
    let (kind, path, deleted) = classify(name, inode, shared);
    (start < end).then_some(Mapping {
        start,
        end,
        offset,
        readable: read == b'r',
        writable: write == b'w',
        executable: execute == b'x',
        shared,
        device,
        inode,
        kind,
        path,
        deleted,
    })
}

fn hex(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

pub(in crate::process) fn classify(name: &[u8], inode: u64, shared: bool) -> (Kind, Option<PathBuf>, bool) {
    match name {
        b"" => (Kind::Anonymous, None, false),
        b"[heap]" => (Kind::Heap, None, false),
        b"[stack]" => (Kind::Stack, None, false),
        // How the kernel names shared memory without a file.
        b"/dev/zero (deleted)" if shared => (Kind::Anonymous, None, false),
        // How it names private memory of hugetlbfs without a file.
        b"/anon_hugepage (deleted)" => (Kind::Anonymous, None, false),
        // Named by prctl(PR_SET_VMA_ANON_NAME).
        [b'[', b'a', b'n', b'o', b'n', b':' | b'_', ..] if inode == 0 || shared => {
            (Kind::Anonymous, None, false)
        }
        _ if name.starts_with(b"/") || (inode != 0 && !name.starts_with(b"anon_inode:")) => {
            let deleted = name.strip_suffix(b" (deleted)");
            let path = OsString::from_vec(unescape(deleted.unwrap_or(name)));
            (Kind::File, Some(path.into()), deleted.is_some())
        }
        _ => (Kind::Special(String::from_utf8_lossy(name).into_owned()), None, false),
    }
}

fn unescape(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(br"\012") {
            plain.push(b'\n');
            rest = tail;
        } else {
            plain.push(first);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::process::maps::Maps;

    const TEXT: &[u8] = b"\
00400000-0041f000 r--p 00000000 fe:01 131 /usr/bin/python3.11\n\
0041f000-006d2000 r-xp 0001f000 fe:01 131                        /usr/bin/python3.11\n\
0b3f6000-0b4d1000 rw-p 00000000 00:00 0                          [heap]\n\
7f0000000000-7f0000001000 rw-p 00002000 fe:01 77 /tmp/new\\012line\xff (deleted)\n\
7f0000001000-7f0000002000 rw-s 00000000 00:01 99 /dev/zero (deleted)\n\
7f0000002000-7f0000003000 rw-p 00000000 00:00 0 \n\
7f0000003000-7f0000004000 rw-p 00000000 00:00 0 [anon:glibc: malloc]\n\
7f0000005000-7f0000006000 rw-s 00000000 00:0e 12 anon_inode:[perf_event]\n\
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n\
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

    #[test]
    fn kinds_and_paths() {
        let maps = Maps::parse(TEXT).unwrap();
        let kinds: Vec<_> = maps.iter().map(|mapping| mapping.kind.clone()).collect();
        let special = |name: &str| Kind::Special(name.into());
        let (a, f) = (Kind::Anonymous, Kind::File);
        let perf = special("anon_inode:[perf_event]");
        let expected = [
            f.clone(),
            f.clone(),
            Kind::Heap,
            f,
            a.clone(),
            a.clone(),
            a,
            perf,
            Kind::Stack,
            special("[vsyscall]"),
        ];
        assert_eq!(kinds, expected);

        let text = maps.find(0x0042_0000).unwrap();
        assert!(text.executable && text.readable && !text.writable && !text.shared);
        assert_eq!(text.device, (0xfe, 1));
        assert_eq!(text.file_name(), Some(&b"python3.11"[..]));
        assert_eq!(text.path_to_open(7), Some("/proc/7/root/usr/bin/python3.11".into()));

        let odd = maps.find(0x7f00_0000_0fff).unwrap();
        assert!(odd.deleted);
        assert_eq!(odd.path.as_ref().unwrap().as_os_str().as_bytes(), b"/tmp/new\nline\xff");
        assert_eq!(odd.path_to_open(7), Some("/proc/7/map_files/7f0000000000-7f0000001000".into()));
        assert_eq!(odd.path_to_show().unwrap(), "/tmp/new\nline\u{fffd}");
    }

    #[test]
    fn regions() {
        let maps = Maps::parse(TEXT).unwrap();
        let region = maps.region(0x0042_0123);
        assert_eq!((region.kind, region.offset), ("file", Some(0x2_0000)));
        assert_eq!(maps.region(0x0b3f_6000).kind, "heap");
        assert_eq!(maps.region(0x7f00_0000_4000).kind, "unknown", "a gap");
        assert_eq!(maps.region(0).kind, "unknown");
        assert_eq!(maps.region(u64::MAX).kind, "unknown");
    }

    #[test]
    fn heaps_are_named_by_their_start() {
        let text = b"1000-2000 r--p 0 0:0 0 \n2000-4000 rw-p 0 0:0 0 \n9000-a000 rw-p 0 0:0 0 \n";
        let kinds = |start| {
            let mut maps = Maps::parse(text).unwrap();
            maps.name_heap(start);
            maps.iter().map(|mapping| mapping.kind.clone()).collect::<Vec<_>>()
        };
        let (heap, anonymous) = (Kind::Heap, Kind::Anonymous);
        assert_eq!(kinds(0x1fff), [anonymous.clone(), heap, anonymous.clone()]);
        for none in [0, 0x4001, 0x5000, u64::MAX] {
            assert_eq!(kinds(none), [anonymous.clone(), anonymous.clone(), anonymous.clone()], "{none:#x}");
        }
    }

    #[test]
    fn own_maps_hold_own_code() {
        let maps = Maps::of(std::process::id()).unwrap();
        let here = own_maps_hold_own_code as *const () as u64;
        let mapping = maps.find(here).unwrap();
        assert!(mapping.executable && mapping.kind == Kind::File);
        assert!(mapping.path_to_open(std::process::id()).unwrap().exists());
    }

    #[test]
    fn garbage_is_an_error() {
        for line in [&b"x"[..], b"1-2", b"2-1 r--p 0 0:0 0 ", b"1-2 r--p 0 0:0 x ", b"1-2 r-p 0 0:0 0 \xff"] {
            assert!(Maps::parse(line).is_err(), "{line:?}");
        }
    }
}
