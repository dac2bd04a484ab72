//! Names and lines from one file.
//!
//! The symbolizer maps what it is given into this process: a file that is cut short in that moment would end cowtrace by
//! `SIGBUS`. It gets copies of files that others than root may change, up to [`MOST_COPIED`] bytes of each; the kernel
//! lets nobody write to a larger program while it runs, but libraries have no such guard.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blazesym::symbolize::source::{self, Source};
use blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Bytes of a file that is copied.
const MOST_COPIED: u64 = 128 << 20;
/// Bytes of a symbol's name that are kept.
const MOST_NAME: usize = 512;
/// Time that the debug information of one file may take in all. What it takes first is for its units, then for those that
/// are asked for.
const MOST_TIME: Duration = Duration::from_secs(20);
/// Functions that are inlined into each other at one address.
const MOST_INLINED: usize = 64;

/// A function at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Function {
    /// Its name.
    pub(super) name: Option<String>,
    /// Source file.
    pub(super) file: Option<String>,
    /// Line.
    pub(super) line: Option<u32>,
}

/// What the symbolizer reads.
#[derive(Debug)]
pub(super) struct Mapped(Arc<File>);

impl Mapped {
    /// A file, or a copy of it if it `may_change`.
    pub(super) fn new(file: &Arc<File>, may_change: bool) -> io::Result<Self> {
        let len = file.metadata()?.len();
        if !may_change || len > MOST_COPIED {
            return Ok(Self(Arc::clone(file)));
        }
        let mut copy = File::from(memfd_create(c"cowtrace", MFdFlags::MFD_CLOEXEC)?);
        let (mut piece, mut at) = (vec![0; 1 << 20], 0);
        while at < len {
            let read = file.read_at(&mut piece, at)?;
            if read == 0 {
                break;
            }
            copy.write_all(&piece[..read])?;
            at += read as u64;
        }
        Ok(Self(Arc::new(copy)))
    }

    /// A file that nobody else has.
    pub(super) fn own(file: File) -> Self {
        Self(Arc::new(file))
    }

    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

/// Looks up names.
#[derive(Debug)]
pub(super) struct Names(Symbolizer);

impl Default for Names {
    fn default() -> Self {
        Self(builder(false).build())
    }
}

impl Names {
    /// The symbol that covers an address or file offset.
    pub(super) fn of(&self, file: &Mapped, input: Input<u64>) -> Option<String> {
        let symbol = ask(&self.0, file, false, input)?;
        covers(&symbol).then(|| clean(&symbol.name))
    }
}

/// Looks up what debug information tells of one file.
#[derive(Debug)]
pub(super) struct Lines {
    symbolizer: Symbolizer,
    file: Mapped,
    took: Duration,
}

impl Lines {
    /// Begins with a file. `follows` = it may name another that it shares debug information with.
    pub(super) fn new(file: Mapped, follows: bool) -> Self {
        let directories = follows.then_some("/usr/lib/debug");
        let symbolizer = builder(true).set_debug_dirs(Some(directories)).build();
        Self { symbolizer, file, took: Duration::ZERO }
    }

    /// The file.
    pub(super) const fn file(&self) -> &Mapped {
        &self.file
    }

    /// The functions at an address, innermost first, the last of them not inlined; empty = nothing is known.
    pub(super) fn of(&mut self, address: u64) -> Vec<Function> {
        if self.took > MOST_TIME {
            return Vec::new();
        }
        let begin = Instant::now();
        let symbol = ask(&self.symbolizer, &self.file, true, Input::VirtOffset(address));
        let functions = symbol.as_ref().map(functions).unwrap_or_default();
        self.took += begin.elapsed();
        functions
    }
}

/// How symbols are looked up, the same way for all.
fn builder(lines: bool) -> blazesym::symbolize::Builder {
    Symbolizer::builder()
        .enable_auto_reload(false)
        .enable_code_info(lines)
        .enable_inlined_fns(lines)
        .enable_demangling(true)
}

fn ask<'s>(symbolizer: &'s Symbolizer, file: &Mapped, debug: bool, input: Input<u64>) -> Option<Sym<'s>> {
    let mut elf = source::Elf::new(file.path());
    elf.debug_syms = debug;
    // The file is the target's and may be broken on purpose; a panic over it is an answer, too.
    let source = Source::Elf(elf);
    let look_up = || symbolizer.symbolize_single(&source, input);
    match catch_unwind(AssertUnwindSafe(look_up)).ok()?.ok()? {
        Symbolized::Sym(symbol) => Some(symbol),
        Symbolized::Unknown(_) => None,
    }
}

fn covers(symbol: &Sym<'_>) -> bool {
    symbol.size.is_some_and(|size| symbol.offset < size)
}

/// The symbolizer tells of each function from where the next inner one was called, and of the innermost where the
/// instruction itself is.
fn functions(symbol: &Sym<'_>) -> Vec<Function> {
    let known = covers(symbol) && !symbol.name.is_empty();
    let mut functions = vec![at(known.then(|| clean(&symbol.name)), symbol.code_info.as_deref())];
    for inlined in symbol.inlined.iter().take(MOST_INLINED) {
        let name = (!inlined.name.is_empty()).then(|| clean(&inlined.name));
        functions.push(at(name, inlined.code_info.as_ref()));
    }
    functions.reverse();
    functions
}

fn at(name: Option<String>, place: Option<&CodeInfo<'_>>) -> Function {
    let file = place.map(|place| clean(&place.to_path().to_string_lossy()));
    Function { name, file, line: place.and_then(|place| place.line).filter(|line| *line > 0) }
}

/// A name of bounded length, without what a terminal would obey.
pub(super) fn clean(name: &str) -> String {
    let shown = &name[..name.floor_char_boundary(MOST_NAME)];
    let mut text = shown.replace(char::is_control, "\u{fffd}");
    if shown.len() < name.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This program with bytes changed at random: names or none, and no panic gets out.
    #[test]
    fn corrupt_files() {
        let path = std::env::temp_dir().join(format!("cowtrace-native-{}", std::process::id()));
        let whole = std::fs::read("/proc/self/exe").unwrap();
        let sections = usize::try_from(u64::from_le_bytes(*whole[0x28..].first_chunk().unwrap())).unwrap();
        let mut bytes = whole;
        let mapped = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Mapped::new(&Arc::new(File::open(&path).unwrap()), true).unwrap()
        };
        for turn in 0..40_usize {
            // The file header, then the section headers, which tell where the symbols are.
            let at = if turn < 20 { turn * 3 } else { sections + turn * 37 };
            bytes[at] ^= 0xff;
            let file = mapped(&bytes);
            let _ = Names::default().of(&file, Input::FileOffset(0x2000 + turn as u64));
            let _ = Lines::new(file, false).of(0x2000 + turn as u64);
            bytes[at] ^= 0xff;
        }
        for length in [0, 10, 64, 5000, sections] {
            let file = mapped(&bytes[..length]);
            assert_eq!(Names::default().of(&file, Input::VirtOffset(0x2000)), None);
            assert_eq!(Lines::new(file, false).of(0x2000), []);
        }
        std::fs::remove_file(&path).unwrap();
    }

    /// A file that others may change is copied: what becomes of it then does not matter.
    #[test]
    fn a_file_is_cut_short() {
        // The C library: the test itself may be larger than what is copied.
        let code = libc::getpid as *const () as u64;
        let maps = crate::process::maps::Maps::of(std::process::id()).unwrap();
        let mapping = maps.find(code).unwrap();
        let library = mapping.path.as_deref().unwrap();
        let path = std::env::temp_dir().join(format!("cowtrace-cut-{}", std::process::id()));
        std::fs::copy(library, &path).unwrap();
        let file = Arc::new(File::options().read(true).write(true).open(&path).unwrap());
        let (names, mapped) = (Names::default(), Mapped::new(&file, true).unwrap());
        let object = crate::process::object::Object::open(library).unwrap();
        let address = code - object.bias(mapping).unwrap();
        file.set_len(0).unwrap();
        let name = names.of(&mapped, Input::VirtOffset(address)).unwrap();
        assert!(name.contains("getpid"), "{name}");
        std::fs::remove_file(&path).unwrap();
    }
}
