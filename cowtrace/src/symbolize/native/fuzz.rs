//! Any bytes as a file with code, and as parts of one.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arbitrary::Unstructured;
use blazesym::symbolize::Input;
use gimli::{DebugAbbrev, DebugInfo, EndianSlice, LittleEndian};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::elf::{Function, Lines, Mapped, Names};
use super::{dwarf as structure, mini, perf_map, plt};
use crate::memory::Memory as _;
use crate::process::object::Object;

/// Bytes of a section that are asked for.
const MOST_CONTENT: u64 = 1 << 20;
/// Bytes of a name: those that are kept, each of which may become three, and a sign that it is cut.
const MOST_NAME: usize = 512 * 3 + 3;

/// The file that libFuzzer has made up is opened, asked for everything that a session asks, and read for names and lines as far as
/// it is sound; no answer is longer than it may be, none lies outside the file.
///
/// The first four bytes are the address that is asked for.
pub(crate) fn elf(bytes: &[u8]) {
    let Some((address, content)) = bytes.split_first_chunk() else { return };
    let address = u64::from(u32::from_le_bytes(*address));
    let make = || -> std::io::Result<File> {
        let mut file = File::from(memfd_create(c"fuzz", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(content)?;
        Ok(file)
    };
    let file = Arc::new(make().expect("a file in memory"));
    let Ok(object) = Object::of_file(Arc::clone(&file), Path::new("fuzz")) else { return };
    places(&object, address, content.len() as u64);
    sections(&object, &file);
    if let Some(name) = plt::find(&object, address) {
        assert!(name.ends_with("@plt") && name.len() <= MOST_NAME + 4);
    }
    let mapped = Mapped::new(&file, false).expect("a file in memory");
    for input in [Input::VirtOffset(address), Input::FileOffset(address)] {
        named(Names::default().of(&mapped, input).as_deref());
    }
    if structure::is_bounded(&object) && structure::is_sound(&object, &file) {
        for Function { name, file, line } in Lines::new(mapped, false).of(address) {
            named(name.as_deref());
            named(file.as_deref());
            assert_ne!(line, Some(0));
        }
    }
}

fn named(name: Option<&str>) {
    assert!(name.is_none_or(|name| name.len() <= MOST_NAME && !name.contains(char::is_control)), "{name:?}");
}

fn places(object: &Object, address: u64, len: u64) {
    if let Some(offset) = object.offset_of(address) {
        assert!(object.loaded_behind(address).is_some_and(|behind| behind > 0));
        let mut byte = [0; 1];
        assert!(object.read(address, &mut byte).is_err() || offset < len, "a byte that is not there");
    }
    let _ =
        (object.is_fixed(), object.first_address(), object.address_of(address), object.is_loaded(address));
    let _ = (object.unwind_index(), object.symbols(["main", "_PyRuntime"]), object.libraries());
    let _ = (object.names(), object.exported(address), object.relocated(address));
    if let Some(id) = object.build_id() {
        assert!((8..=64).contains(&id.len()));
    }
    if let Some(link) = object.debug_link() {
        assert_eq!(Path::new(link.name).components().count(), 1, "a name with a folder");
    }
    for part in object.data().chain(object.constants()) {
        assert!(object.bytes(part.offset, part.size).is_none_or(|bytes| bytes.len() as u64 == part.size));
    }
}

fn sections(object: &Object, file: &File) {
    for name in [".debug_info", ".debug_abbrev", ".eh_frame", ".text", mini::SECTION] {
        let content = object.section_content(file, name, MOST_CONTENT);
        assert!(content.as_ref().is_none_or(|content| content.len() as u64 <= MOST_CONTENT));
        assert!(content.is_none() || object.has_section(name));
        let _ = object.section(name);
    }
    let _ = (object.debug_bytes(), mini::find(object, file));
}

/// Levels of entries that the symbolizer may have to descend: its stack holds many more.
const MOST_LEVELS: isize = 512;

/// Debug information that is taken for sound is no deeper than its reader's stack allows.
///
/// The first two bytes are the length of the entries; behind them come the forms.
pub(crate) fn dwarf(bytes: &[u8]) {
    let mut given = Unstructured::new(bytes);
    let Ok(len) = given.arbitrary::<u16>() else { return };
    let Ok(entries) = given.bytes(usize::from(len).min(given.len())) else { return };
    let forms = given.take_rest();
    if !structure::check(entries, forms).unwrap_or(false) {
        return;
    }
    let (info, abbreviations) =
        (DebugInfo::new(entries, LittleEndian), DebugAbbrev::<EndianSlice<'_, _>>::new(forms, LittleEndian));
    let mut headers = info.units();
    while let Ok(Some(unit)) = headers.next() {
        let known = unit.abbreviations(&abbreviations).expect("it was sound");
        let mut cursor = unit.entries(&known);
        while let Ok(Some(entry)) = cursor.next_dfs() {
            assert!(entry.depth() <= MOST_LEVELS, "{} levels", entry.depth());
        }
    }
}

/// See [`perf_map::check`].
pub(crate) fn perf_map(bytes: &[u8]) {
    perf_map::check(bytes);
}
