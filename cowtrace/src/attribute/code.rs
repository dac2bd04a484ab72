//! The native code that wrote: its symbol, its instruction, whose it is.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::Attributor;
use crate::process::maps::Kind;
use crate::process::tree::Mapped;
use crate::record::schema::NativeFrame;
use crate::symbolize::instruction;

/// The innermost native code at one address.
#[derive(Clone, Debug)]
pub(super) struct Symbol {
    /// Its innermost frame: of an inlined function, if there is one.
    pub(super) frame: NativeFrame,
    /// All of the address: inlined functions, innermost first, and the one that holds it.
    pub(super) frames: Arc<[NativeFrame]>,
    /// The symbol of the function that holds the instruction, whatever was inlined into it.
    pub(super) function: Option<String>,
    /// The instruction.
    pub(super) code: Option<[u8; instruction::LONGEST]>,
    pub(super) in_interpreter: bool,
    /// The instruction lies in no file: it was made while the program ran.
    pub(super) made: bool,
}

impl Attributor {
    /// The file that a process runs, as its mappings name it; `None` = it holds or loads an interpreter.
    pub(super) fn own_object(&mut self, process: usize) -> Option<String> {
        let process = self.tree.get(process);
        if self.names.interpreter_of(process.image).is_some() {
            return None;
        }
        let exe = || {
            let path = Path::new(OsStr::from_bytes(&process.exe));
            Some(fs::canonicalize(path).ok()?.to_string_lossy().into_owned())
        };
        self.executables.entry(process.image).or_insert_with(exe).clone()
    }

    /// The innermost native frame.
    pub(super) fn symbol(&mut self, process: usize, ip: u64) -> Option<Symbol> {
        let Mapped { id, maps } = self.tree.maps_at(process, ip)?;
        if let Some(symbol) = self.symbols.get(&(id, ip)) {
            return Some(symbol.clone());
        }
        let mapping = maps.find(ip)?;
        // The file is opened through a process that still has it; if none has, by its path from here.
        let pid = self.tree.witness(process);
        let frames = self.native.frames(pid, mapping, ip);
        let frame = frames.first().cloned().unwrap_or_default();
        let function = frames.last().and_then(|frame| frame.symbol.clone());
        let interpreter = self.names.interpreter_of(self.tree.get(process).image);
        let in_interpreter =
            interpreter.is_some_and(|found| frame.object.as_deref() == Some(found.interpreter.path.as_str()));
        let code = self.native.code(pid, mapping, ip);
        let made = mapping.kind == Kind::Anonymous && mapping.executable;
        let symbol = Symbol { frame, frames: frames.into(), function, code, in_interpreter, made };
        self.symbols.insert((id, ip), symbol.clone());
        Some(symbol)
    }
}
