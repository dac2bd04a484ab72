//! Names for native code and data: from the symbol tables of the files that hold it, and from debug information, where
//! there is some, with source lines and the functions that were inlined.
//!
//! Only symbols that say how far they reach count: in a stripped file the nearest symbol before an address is mostly
//! another function.

mod debug;
mod dwarf;
mod elf;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod mini;
mod perf_map;
mod plt;
mod vdso;

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::elf::Function;
use self::files::{Files, Number, Position};
use self::perf_map::PerfMap;
use self::vdso::Vdso;
use super::instruction::LONGEST;
use crate::memory::{Live, Memory as _};
use crate::process::maps::{Kind, Mapping, Maps};
use crate::record::schema::NativeFrame;

/// Answers of each kind that are remembered at most.
const MAX_FOUND: usize = 1 << 20;
/// Processes of which the list of compiled functions is kept.
const MAX_PERF_MAPS: usize = 64;
/// Longest text that is read from a file.
const LONGEST_TEXT: usize = 128;

/// Looks up symbols and remembers what it found.
#[derive(Debug, Default)]
pub struct Native {
    files: Files,
    functions: HashMap<(Number, u64), Arc<[Function]>>,
    variables: HashMap<(Number, u64), Option<String>>,
    /// By process; `None` = it was gone.
    perf_maps: HashMap<u32, Option<PerfMap>>,
    vdso: Vdso,
}

/// Data of a program or library.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct StaticData {
    /// Symbol whose size covers the address; `None` = there is none.
    pub symbol: Option<String>,
    /// File that it belongs to, to be shown.
    pub object: String,
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
        let nameless = NativeFrame { object, offset, ..NativeFrame::default() };
        if mapping.kind != Kind::File {
            let (symbol, approximate) = self.outside_of_files(pid, mapping, address);
            return vec![NativeFrame { symbol, approximate, ..nameless }];
        }
        let number = match self.files.of(pid, mapping) {
            Ok(number) => number,
            Err(reason) => return vec![NativeFrame { reason: Some(reason.to_owned()), ..nameless }],
        };
        // Compilers may keep their code in a file without a name, to have it mapped twice.
        if self.files.object(number).is_none() {
            let (symbol, approximate) = self.compiled(pid, mapping, address);
            return vec![NativeFrame { symbol, approximate, ..nameless }];
        }
        let known = self.functions.get(&(number, offset)).cloned();
        let functions = known.unwrap_or_else(|| {
            let functions: Arc<[_]> = self.files.functions(number, Position::Offset(offset)).into();
            remember(&mut self.functions, (number, offset), Arc::clone(&functions));
            functions
        });
        let frame = |(at, function): (usize, &Function)| NativeFrame {
            symbol: function.name.clone(),
            file: function.file.clone(),
            line: function.line,
            inlined: at + 1 < functions.len(),
            ..nameless.clone()
        };
        functions.iter().enumerate().map(frame).collect()
    }

    /// The symbol of code that lies in no file, and whether it may be that of other code: of the kernel's, or of what the
    /// program compiled while it ran.
    fn outside_of_files(&mut self, pid: u32, mapping: &Mapping, address: u64) -> (Option<String>, bool) {
        match &mapping.kind {
            Kind::Special(name) if name == "[vdso]" => (self.vdso.find(pid, mapping, address), false),
            Kind::Anonymous | Kind::Special(_) => self.compiled(pid, mapping, address),
            Kind::Heap | Kind::Stack | Kind::File => (None, false),
        }
    }

    /// The same of what the program compiled.
    fn compiled(&mut self, pid: u32, mapping: &Mapping, address: u64) -> (Option<String>, bool) {
        if !mapping.executable {
            return (None, false);
        }
        if self.perf_maps.len() >= MAX_PERF_MAPS && !self.perf_maps.contains_key(&pid) {
            self.perf_maps.clear();
        }
        let known = self.perf_maps.entry(pid).or_insert_with(|| PerfMap::of(pid));
        let found = known.as_mut().and_then(|map| map.find(address));
        found.map_or((None, false), |(name, approximate)| (Some(name), approximate))
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
        let number = self.files.of(pid, file).ok()?;
        let object = self.files.object(number)?;
        let position = address.wrapping_sub(object.bias(file)?);
        if !object.is_loaded(position) {
            return None;
        }
        let known = self.variables.get(&(number, position)).cloned();
        let symbol = known.unwrap_or_else(|| {
            let symbol = self.files.symbol(number, Position::Address(position));
            remember(&mut self.variables, (number, position), symbol.clone());
            symbol
        });
        Some(StaticData { symbol, object: shown })
    }

    /// The instruction at an address: its bytes, and those behind it; `None` = they could not be read. Code without a file
    /// is read from the process.
    pub fn code(&mut self, pid: u32, mapping: &Mapping, address: u64) -> Option<[u8; LONGEST]> {
        let mut bytes = [0; LONGEST];
        if mapping.kind != Kind::File {
            return Live::new(pid).read(address, &mut bytes).ok().map(|()| bytes);
        }
        let number = self.files.of(pid, mapping).ok()?;
        // Less than that may be left of the file; what follows an instruction does not matter.
        let read = self.files.file(number).read_at(&mut bytes, mapping.file_offset(address)).ok()?;
        (read > 0).then_some(bytes)
    }

    /// The text at an address of a file's data that the process cannot write, up to its terminating zero.
    pub fn text(&mut self, pid: u32, mapping: &Mapping, address: u64) -> Option<String> {
        if mapping.kind != Kind::File || mapping.writable {
            return None;
        }
        let mut bytes = [0; LONGEST_TEXT];
        let number = self.files.of(pid, mapping).ok()?;
        let read = self.files.file(number).read_at(&mut bytes, mapping.file_offset(address)).ok()?;
        let end = bytes.get(..read)?.iter().position(|&byte| byte == 0)?;
        let text = str::from_utf8(&bytes[..end]).ok()?;
        (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
    }
}

fn remember<V>(known: &mut HashMap<(Number, u64), V>, place: (Number, u64), value: V) {
    if known.len() >= MAX_FOUND {
        known.clear();
    }
    known.insert(place, value);
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

    /// The kernel's code has the kernel's names.
    #[test]
    fn vdso() {
        let pid = std::process::id();
        let maps = Maps::of(pid).unwrap();
        let Some(mapping) = maps.iter().find(|mapping| mapping.kind == Kind::Special("[vdso]".to_owned()))
        else {
            eprintln!("SKIPPED (allowed): this kernel maps no code of its own");
            return;
        };
        let mut native = Native::default();
        let mut at = (mapping.start..mapping.end).step_by(16);
        let found = at.find_map(|at| native.frames(pid, mapping, at).pop()?.symbol);
        assert!(found.is_some_and(|name| name.contains("vdso")), "a function with a size");
    }

    /// A file that is gone, one in whose place there is another, and a FIFO there: no name, and why.
    #[test]
    fn files_that_are_gone() {
        let path = std::env::temp_dir().join(format!("cowtrace-gone-{}", std::process::id()));
        let line = format!("7f0000000000-7f0000010000 r-xp 00000000 00:00 12345 {}\n", path.display());
        let maps = Maps::parse(line.as_bytes()).unwrap();
        let mapping = maps.find(0x7f00_0000_1000).unwrap();
        let check = |reason: &str| {
            let frames = Native::default().frames(u32::MAX, mapping, 0x7f00_0000_1000);
            let [frame] = frames.as_slice() else { panic!("{frames:?}") };
            assert_eq!((frame.symbol.as_deref(), frame.offset), (None, 0x1000));
            assert_eq!(frame.reason.as_deref(), Some(reason));
        };
        let replaced = "the file was deleted or replaced before it was read";
        check(replaced);
        std::fs::copy("/proc/self/exe", &path).unwrap();
        check(replaced);
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        check(replaced);
        std::fs::remove_file(&path).unwrap();
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
}
