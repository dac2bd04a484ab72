//! Innermost symbols of native code, from the symbol tables of the files that hold it.
//!
//! Only symbols that say how far they reach count: in a stripped file the nearest symbol before an address is mostly
//! another function.
//!
//! The symbolizer maps the files into this process: one that is cut short in that moment would end cowtrace by `SIGBUS`.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};
use serde::{Deserialize, Serialize};

use super::instruction::LONGEST;
use crate::memory::{Live, Memory as _};
use crate::process::maps::{Kind, Mapping, Maps};
use crate::process::object::{self, Object};
use crate::record::schema::NativeFrame;

/// Files that are kept open at most; code in further ones gets no symbol.
const MAX_FILES: usize = 512;
/// Answers that are remembered at most.
const MAX_FOUND: usize = 1 << 20;
/// Bytes of a symbol's name that are kept.
const MAX_NAME: usize = 512;

/// Which file a mapping shows.
type Key = ((u32, u32), u64, Option<PathBuf>);

/// Looks up symbols and remembers what it found.
#[derive(Debug)]
pub struct Native {
    symbolizer: Symbolizer,
    /// Open files: the symbolizer goes by path, and that of an open file means the same file while it is open.
    files: HashMap<Key, File>,
    /// Their headers, for data.
    objects: HashMap<Key, Object>,
    found: HashMap<(Key, Position), Option<String>>,
}

/// Where in a file to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Position {
    /// Offset in the file.
    Offset(u64),
    /// Address as in the file's headers: data that is all zeros at the start has no offset.
    Address(u64),
}

/// Data of a program or library.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct StaticData {
    /// Symbol whose size covers the address; `None` = there is none.
    pub symbol: Option<String>,
    /// File that it belongs to, to be shown.
    pub object: String,
}

/// Longest text that is read from a file.
const LONGEST_TEXT: usize = 128;

impl Default for Native {
    fn default() -> Self {
        let symbolizer = Symbolizer::builder()
            .enable_auto_reload(false)
            .enable_code_info(false)
            .enable_inlined_fns(false)
            .enable_demangling(true)
            .build();
        Self { symbolizer, files: HashMap::new(), objects: HashMap::new(), found: HashMap::new() }
    }
}

impl Native {
    /// The frames of an address that lies in this mapping of this process: functions that are inlined there, innermost first,
    /// then the function itself; never none. The file is opened at the first question about it, so at that moment the
    /// process must live, or its path must still lead there.
    pub fn frames(&mut self, pid: u32, mapping: &Mapping, address: u64) -> Vec<NativeFrame> {
        let offset = mapping.file_offset(address);
        let object = match &mapping.kind {
            Kind::File => mapping.path_to_show(),
            Kind::Special(name) => Some(name.clone()),
            Kind::Heap | Kind::Stack | Kind::Anonymous => None,
        };
        let symbol = self.symbol(pid, mapping, Position::Offset(offset));
        vec![NativeFrame { symbol, object, offset, ..NativeFrame::default() }]
    }

    /// The variable at an address, if that lies in the data of a file, the part without initial values included:
    /// that part is anonymous memory behind the file's last mapping, as far as the file's headers say.
    pub fn data(&mut self, pid: u32, maps: &Maps, address: u64) -> Option<StaticData> {
        let mapping = maps.find(address)?;
        let file = match mapping.kind {
            Kind::File => mapping,
            Kind::Anonymous | Kind::Heap => maps.find(mapping.start.checked_sub(1)?)?,
            Kind::Stack | Kind::Special(_) => return None,
        };
        let shown = file.path_to_show().filter(|_| file.kind == Kind::File)?;
        let key = (file.device, file.inode, file.path.clone());
        if !self.objects.contains_key(&key) {
            if self.objects.len() >= MAX_FILES {
                return None;
            }
            self.objects.insert(key.clone(), Object::of_mapping(pid, file).ok()?);
        }
        let object = self.objects.get(&key)?;
        let position = address.wrapping_sub(object.bias(file)?);
        let symbol =
            object.is_loaded(position).then(|| self.symbol(pid, file, Position::Address(position)))?;
        Some(StaticData { symbol, object: shown })
    }

    /// The instruction at an address: its bytes, and those behind it; `None` = they could not be read. Code without a file
    /// is read from the process.
    pub fn code(&mut self, pid: u32, mapping: &Mapping, address: u64) -> Option<[u8; LONGEST]> {
        let mut bytes = [0; LONGEST];
        if mapping.kind != Kind::File {
            return Live::new(pid).read(address, &mut bytes).ok().map(|()| bytes);
        }
        let offset = mapping.file_offset(address);
        let (_, file) = self.file(pid, mapping)?;
        // Less than that may be left of the file; what follows an instruction does not matter.
        let read = file.read_at(&mut bytes, offset).ok()?;
        (read > 0).then_some(bytes)
    }

    /// The text at an address of a file's data that the process cannot write, up to its terminating zero.
    pub fn text(&mut self, pid: u32, mapping: &Mapping, address: u64) -> Option<String> {
        if mapping.kind != Kind::File || mapping.writable {
            return None;
        }
        let mut bytes = [0; LONGEST_TEXT];
        let (_, file) = self.file(pid, mapping)?;
        let read = file.read_at(&mut bytes, mapping.file_offset(address)).ok()?;
        let end = bytes.get(..read)?.iter().position(|&byte| byte == 0)?;
        let text = str::from_utf8(&bytes[..end]).ok()?;
        (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
    }

    fn file(&mut self, pid: u32, mapping: &Mapping) -> Option<(Key, &File)> {
        let key = (mapping.device, mapping.inode, mapping.path.clone());
        if !self.files.contains_key(&key) {
            if self.files.len() >= MAX_FILES {
                return None;
            }
            // A failure is not remembered: another process may still show the file.
            let file = object::open_mapped(pid, mapping).ok()?;
            self.files.insert(key.clone(), file);
        }
        let file = self.files.get(&key)?;
        Some((key, file))
    }

    fn symbol(&mut self, pid: u32, mapping: &Mapping, position: Position) -> Option<String> {
        if mapping.kind != Kind::File {
            return None;
        }
        let key = (mapping.device, mapping.inode, mapping.path.clone());
        let place = (key, position);
        if let Some(known) = self.found.get(&place) {
            return known.clone();
        }
        self.file(pid, mapping)?;
        let symbol = look_up(&self.symbolizer, self.files.get(&place.0)?, position);
        if self.found.len() >= MAX_FOUND {
            self.found.clear();
        }
        self.found.insert(place, symbol.clone());
        symbol
    }
}

fn look_up(symbolizer: &Symbolizer, file: &File, position: Position) -> Option<String> {
    let mut elf = Elf::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
    elf.debug_syms = false;
    let source = Source::Elf(elf);
    // The file is the target's and may be broken on purpose; a panic over it is an answer, too.
    let input = match position {
        Position::Offset(offset) => Input::FileOffset(offset),
        Position::Address(address) => Input::VirtOffset(address),
    };
    let look_up = || symbolizer.symbolize_single(&source, input);
    let found = catch_unwind(AssertUnwindSafe(look_up)).ok()?.ok()?;
    let Symbolized::Sym(symbol) = found else { return None };
    let covered = symbol.size.is_some_and(|size| symbol.offset < size);
    covered.then(|| shorten(&symbol.name))
}

fn shorten(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    format!("{}…", &name[..name.floor_char_boundary(MAX_NAME)])
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    #[inline(never)]
    fn landmark(value: u32) -> u32 {
        std::hint::black_box(value) + 1
    }

    fn frame(address: u64) -> NativeFrame {
        let pid = std::process::id();
        let maps = Maps::of(pid).unwrap();
        let mapping = maps.find(address).unwrap();
        let mut native = Native::default();
        let frames = native.frames(pid, mapping, address);
        assert_eq!(native.frames(pid, mapping, address), frames, "the same when asked again");
        frames.into_iter().next_back().unwrap()
    }

    #[test]
    fn own_function_is_named_and_demangled() {
        let found = frame(landmark as *const () as u64);
        let name = found.symbol.unwrap();
        assert!(name.starts_with("cowtrace::symbolize::native::tests::landmark"), "{name}");
        assert!(found.object.unwrap().contains("cowtrace"));
        assert_eq!(landmark(1), 2);
    }

    static ZEROS: [AtomicU8; 1 << 16] = [const { AtomicU8::new(0) }; 1 << 16];
    static ONES: [AtomicU8; 100] = [const { AtomicU8::new(1) }; 100];

    #[test]
    fn variables_are_named() {
        let pid = std::process::id();
        let maps = Maps::of(pid).unwrap();
        let mut native = Native::default();
        for (variable, name) in [(&ZEROS[40_000], "ZEROS"), (&ZEROS[0], "ZEROS"), (&ONES[99], "ONES")] {
            variable.fetch_add(1, Ordering::Relaxed);
            let found = native.data(pid, &maps, std::ptr::from_ref(variable) as u64).unwrap();
            assert!(found.symbol.unwrap().ends_with(name));
            assert!(found.object.contains("cowtrace"));
        }
        let value = Box::new(1_u8);
        assert_eq!(native.data(pid, &maps, std::ptr::from_ref(&*value) as u64), None);
        assert_eq!(native.data(pid, &maps, 8), None);
    }

    #[test]
    fn memory_that_is_no_code_has_no_symbol() {
        let value = Box::new(1_u8);
        let found = frame(std::ptr::from_ref(&*value) as u64);
        assert_eq!((found.symbol, found.object), (None, None));
    }

    /// This program with bytes changed at random: a symbol or none, and no panic gets out.
    #[test]
    fn corrupt_files() {
        let path = std::env::temp_dir().join(format!("cowtrace-native-{}", std::process::id()));
        let whole = std::fs::read("/proc/self/exe").unwrap();
        let sections = usize::try_from(u64::from_le_bytes(*whole[0x28..].first_chunk().unwrap())).unwrap();
        let mut bytes = whole;
        for turn in 0..40_usize {
            // The file header, then the section headers, which tell where the symbols are.
            let at = if turn < 20 { turn * 3 } else { sections + turn * 37 };
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            let _ = look_up(
                &Native::default().symbolizer,
                &File::open(&path).unwrap(),
                Position::Offset(0x2000 + turn as u64),
            );
            bytes[at] ^= 0xff;
        }
        for length in [0, 10, 64, 5000, sections] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(
                look_up(
                    &Native::default().symbolizer,
                    &File::open(&path).unwrap(),
                    Position::Address(0x2000)
                ),
                None
            );
        }
        std::fs::remove_file(&path).unwrap();
    }
}
