//! Any bytes as the texts that the kernel shows under `/proc`.

use std::os::unix::ffi::OsStrExt as _;

use super::maps::{Kind, Mapping, Maps};
use super::{cgroup, container};

/// Mappings are those of the text, in order, and a text that is written of them is read as the same ones; a container's name is
/// part of the text.
pub(crate) fn maps(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(name) = container::of_cgroups(&text) {
        assert!(text.contains(&name) && name.len() <= 128 && !name.is_empty() && !name.contains('/'));
    }
    if let Some(mount) = cgroup::mount_in(&text) {
        assert!(mount.to_str().is_some_and(|mount| text.contains(mount)));
    }
    let Ok(maps) = Maps::parse(bytes) else { return };
    assert!(maps.iter().map(|mapping| mapping.start).is_sorted());
    let mut written = Vec::new();
    for mapping in maps.iter() {
        assert!(mapping.start < mapping.end);
        write(mapping, &mut written);
        for address in [mapping.start, mapping.end - 1, mapping.end] {
            let found = maps.find(address);
            assert!(found.is_none_or(|found| (found.start..found.end).contains(&address)));
            let _ = maps.region(address);
        }
        let _ = (mapping.file_name(), mapping.path_to_open(1), mapping.path_to_show());
    }
    let again = Maps::parse(&written).expect("it was written as the kernel writes it");
    assert_eq!(again, maps, "{}", String::from_utf8_lossy(&written));
}

/// A line as the kernel writes it.
fn write(mapping: &Mapping, into: &mut Vec<u8>) {
    let Mapping { start, end, offset, device: (major, minor), inode, .. } = mapping;
    let flag = |set: bool, letter: char| if set { letter } else { '-' };
    let line = format!(
        "{start:x}-{end:x} {}{}{}{} {offset:x} {major:x}:{minor:x} {inode} ",
        flag(mapping.readable, 'r'),
        flag(mapping.writable, 'w'),
        flag(mapping.executable, 'x'),
        if mapping.shared { 's' } else { 'p' },
    );
    into.extend_from_slice(line.as_bytes());
    match (&mapping.kind, &mapping.path) {
        (Kind::Heap, _) => into.extend_from_slice(b"[heap]"),
        (Kind::Stack, _) => into.extend_from_slice(b"[stack]"),
        (Kind::Special(name), _) => into.extend_from_slice(name.as_bytes()),
        (Kind::File, Some(path)) => {
            for &byte in path.as_os_str().as_bytes() {
                match byte {
                    b'\n' => into.extend_from_slice(br"\012"),
                    _ => into.push(byte),
                }
            }
            into.extend_from_slice(if mapping.deleted { b" (deleted)" } else { b"" });
        }
        (Kind::File | Kind::Anonymous, _) => {}
    }
    into.push(b'\n');
}
