//! The native code that wrote: its symbol, its instruction, whose it is.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::Attributor;
use crate::process::maps::Kind;
use crate::process::tree::Mapped;
use crate::record::schema::{Id, NativeFrame, Site};
use crate::symbolize::instruction;

/// The innermost native frame at one address.
#[derive(Clone, Debug)]
pub(super) struct Symbol {
    pub(super) frame: NativeFrame,
    /// The instruction.
    pub(super) code: Option<[u8; instruction::LONGEST]>,
    pub(super) id: Id<Vec<NativeFrame>>,
    pub(super) in_interpreter: bool,
    /// The instruction lies in no file: it was made while the program ran.
    pub(super) made: bool,
}

impl Attributor {
    /// A place in native code: the user's own in the file that a process runs, if that is no interpreter.
    pub(super) fn native_site(&mut self, process: usize, symbol: &Symbol) -> Site {
        let NativeFrame { symbol, object, offset } = &symbol.frame;
        let module = object.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or("(no file)");
        let function = symbol.clone().unwrap_or_else(|| format!("{module}+{offset:#x}"));
        let own = object.is_some() && *object == self.own_object(process);
        let library = (!own).then(|| module.to_owned());
        Site { file: object.clone(), line: None, approximate: false, function: Some(function), library }
    }

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
        let frame = self.native.frame(pid, mapping, ip);
        let interpreter = self.names.interpreter_of(self.tree.get(process).image);
        let in_interpreter =
            interpreter.is_some_and(|found| frame.object.as_deref() == Some(found.interpreter.path.as_str()));
        let native = self.output.native.intern(vec![frame.clone()]);
        let code = self.native.code(pid, mapping, ip);
        let made = mapping.kind == Kind::Anonymous && mapping.executable;
        let symbol = Symbol { frame, code, id: native, in_interpreter, made };
        self.symbols.insert((id, ip), symbol.clone());
        Some(symbol)
    }
}
