//! The files of mapped code and data: opened once, kept open, each with what names it.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use blazesym::symbolize::Input;

use super::debug;
use super::dwarf;
use super::elf::{Function, Lines, Mapped, Names, clean};
use super::{mini, plt};
use crate::process::maps::Mapping;
use crate::process::object::{self, Object, ObjectError};

/// Files that are kept open at most; what lies in further ones gets no symbol.
const MAX_FILES: usize = 512;
/// Sections that name a further file.
const LINKS: [&str; 3] = [".gnu_debuglink", ".gnu_debugaltlink", ".debug_sup"];

/// Which file a mapping shows.
type Key = ((u32, u32), u64, Option<PathBuf>);

/// The number of a file in [`Files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Number(usize);

/// Where in a file to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Position {
    /// Offset in the file.
    Offset(u64),
    /// Address as in the file's headers: data that is all zeros at the start has no offset.
    Address(u64),
}

/// The files.
#[derive(Debug, Default)]
pub(super) struct Files {
    numbers: HashMap<Key, Number>,
    files: Vec<Opened>,
    names: Names,
}

/// A file.
#[derive(Debug)]
struct Opened {
    file: File,
    object: Option<Object>,
    /// `None` = it could not be copied.
    mapped: Option<Mapped>,
    /// Process and path for which it was opened.
    origin: (u32, PathBuf),
    lines: OnceCell<Option<Lines>>,
    /// Functions that are not exported, compressed.
    mini: OnceCell<Option<Mapped>>,
}

impl Files {
    /// The file that a mapping shows.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn of(&mut self, pid: u32, mapping: &Mapping) -> Result<Number, &'static str> {
        let key = (mapping.device, mapping.inode, mapping.path.clone());
        if let Some(number) = self.numbers.get(&key) {
            return Ok(*number);
        }
        if self.files.len() >= MAX_FILES {
            return Err("too many files are mapped");
        }
        // A failure is not remembered: another process may still show the file.
        let file = object::open_mapped(pid, mapping).map_err(|error| match error {
            ObjectError::Replaced { .. } => "the file was deleted or replaced before it was read",
            _ => "the file could not be read",
        })?;
        let path = mapping.path.clone().unwrap_or_default();
        let object = file.try_clone().ok().and_then(|file| Object::of_file(file, &path).ok());
        let mapped = Mapped::new(&file, !debug::is_of_system(&file, &path)).ok();
        let number = Number(self.files.len());
        let (lines, mini) = (OnceCell::new(), OnceCell::new());
        self.files.push(Opened { file, object, mapped, origin: (pid, path), lines, mini });
        self.numbers.insert(key, number);
        Ok(number)
    }

    /// The file itself.
    pub(super) fn file(&self, number: Number) -> &File {
        &self.files[number.0].file
    }

    /// Its headers; `None` = it is no ELF file.
    pub(super) fn object(&self, number: Number) -> Option<&Object> {
        self.files[number.0].object.as_ref()
    }

    /// The symbol at a position.
    pub(super) fn symbol(&self, number: Number, position: Position) -> Option<String> {
        let file = &self.files[number.0];
        let input = match position {
            Position::Offset(offset) => Input::FileOffset(offset),
            Position::Address(address) => Input::VirtOffset(address),
        };
        let own = self.names.of(file.mapped.as_ref()?, input);
        // What was stripped from the file is in the one with its debug information.
        let separate = || {
            let lines = file.lines.get_or_init(|| file.find_lines()).as_ref()?;
            self.names.of(lines.file(), Input::VirtOffset(file.address(position)?))
        };
        own.or_else(separate).or_else(|| {
            let (object, address) = (file.object.as_ref()?, file.address(position)?);
            file.hidden(&self.names, object, address).or_else(|| plt::find(object, address))
        })
    }

    /// The functions at a position, innermost first, the last of them not inlined; never none.
    pub(super) fn functions(&mut self, number: Number, position: Position) -> Vec<Function> {
        let name = self.symbol(number, position);
        let file = &mut self.files[number.0];
        let address = file.address(position);
        file.lines.get_or_init(|| file.find_lines());
        let lines = file.lines.get_mut().and_then(Option::as_mut);
        let mut functions = lines.zip(address).map(|(lines, address)| lines.of(address)).unwrap_or_default();
        match functions.last_mut() {
            // The rest of cowtrace knows functions by the names that the linker had.
            Some(function) if name.is_some() => function.name = name,
            Some(_) => {}
            None => functions.push(Function { name, ..Function::default() }),
        }
        functions
    }
}

impl Opened {
    /// The address as in the file's headers.
    fn address(&self, position: Position) -> Option<u64> {
        match position {
            Position::Offset(offset) => self.object.as_ref()?.address_of(offset),
            Position::Address(address) => Some(address),
        }
    }

    /// The function at an address of a file with compressed symbols: these, or the exported ones, which the symbolizer does not
    /// get to in such a file.
    fn hidden(&self, names: &Names, object: &Object, address: u64) -> Option<String> {
        if !object.has_section(mini::SECTION) {
            return None;
        }
        let mini = self.mini.get_or_init(|| mini::find(object, &self.file)).as_ref();
        let name = mini.and_then(|mini| names.of(mini, Input::VirtOffset(address)));
        name.or_else(|| object.exported(address).map(|name| clean(&name)))
    }

    /// Debug information in the file itself or in one beside it.
    fn find_lines(&self) -> Option<Lines> {
        let object = self.object.as_ref()?;
        let (pid, path) = &self.origin;
        if dwarf::is_bounded(object) {
            let is_of_system = debug::is_of_system(&self.file, path);
            return usable(object, &self.file, is_of_system);
        }
        let separate = debug::find(*pid, path, object)?;
        usable(&separate.object, &separate.file, separate.is_of_system)
    }
}

/// Debug information that may be used: the system's own, or what was looked through and leads to no further file.
fn usable(object: &Object, file: &File, is_of_system: bool) -> Option<Lines> {
    let alone = || !LINKS.iter().any(|name| object.has_section(name));
    let fits = dwarf::is_bounded(object) && (is_of_system || alone() && dwarf::is_sound(object, file));
    fits.then(|| Some(Lines::new(Mapped::new(file, !is_of_system).ok()?, is_of_system))).flatten()
}
