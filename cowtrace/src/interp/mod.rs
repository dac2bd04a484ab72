//! Interpreters: recognise one in a process, tell the kernel side how to walk its frames, and read what the walk brings
//! back. Stage 7: knows mappings, files and memory; nothing of faults or causes.
//!
//! Three steps. A [`Recogniser`] looks at a process and answers [`Discovery`]. What it [`Found`] is a [`Plan`] for the
//! kernel side, and a [`Language`] that turns the words the kernel side sends into lines, names and instructions.
//! A new interpreter is a folder and a row of [`INTERPRETERS`].

mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod heap;
pub mod python;
pub mod ruby;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;

use cowtrace_ebpf::event::Detail;
use cowtrace_ebpf::plan::Plan;
use cowtrace_ebpf::state::ModuleTable;
use serde::{Deserialize, Serialize};

use crate::arch;
use crate::event::Code;
use crate::memory::Memory;
use crate::process::maps::Maps;
use crate::process::object::{Object, ObjectError};
use crate::record::schema;
use heap::{HeapPlace, Own, Parts, Records};
pub use python::dict::{DictTable, Place, Slot};

/// Everything that can recognise an interpreter, asked in this order.
pub static INTERPRETERS: &[Recogniser] = &[python::RECOGNISER, ruby::RECOGNISER];

/// How to recognise one interpreter.
#[derive(Clone, Copy, Debug)]
pub struct Recogniser {
    /// Name of the interpreter.
    pub name: &'static str,
    /// Looks at a process.
    pub recognise: fn(&Target<'_>) -> Discovery,
    /// Looks at a file that need not run.
    pub in_file: fn(&Object, &Path) -> Option<InFile>,
}

/// An interpreter in a file.
#[derive(Debug)]
pub struct InFile {
    /// Which; its `layout` is `None` if its frames will not be seen.
    pub interpreter: schema::Interpreter,
    /// How its frames would be read, or why they will not be seen.
    pub language: Result<&'static dyn Language, Reason>,
}

/// A process that is looked at.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Its number.
    pub pid: u32,
    /// Its mappings.
    pub maps: &'a Maps,
    /// Its memory.
    pub memory: &'a dyn Memory,
}

/// Answer to "does this process run an interpreter that we know?"
#[derive(Debug)]
pub enum Discovery {
    /// No interpreter, or the process is gone.
    None,
    /// An interpreter is mapped but has not started yet, or has ended: ask again later.
    NotYet,
    /// An interpreter whose frames can be walked.
    Found(Box<Found>),
    /// An interpreter whose frames will not be seen.
    Unsupported {
        /// Which; its `layout` is `None`.
        interpreter: schema::Interpreter,
        /// Why.
        reason: Reason,
    },
}

/// Why an interpreter that was recognised cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// No table row covers its version.
    #[error("version {version} is not known; known are {known}")]
    NoLayout {
        /// Its version.
        version: String,
        /// The versions that are.
        known: String,
    },
    /// Its structures are not what the version's layout says: a patched or unusual build.
    #[error("its memory does not fit the layout {layout}: {what}")]
    Inconsistent {
        /// The row that was tried.
        layout: &'static str,
        /// What did not fit.
        what: &'static str,
    },
    /// Nothing is known of interpreters on this kind of machine.
    #[error("where a thread keeps its state is not known on this machine's processor")]
    Processor,
    /// Its memory could not be read.
    #[error("failed to read its memory")]
    Memory(#[source] io::Error),
    /// The file that holds its runtime could not be read.
    #[error("failed to read its file")]
    File(#[source] ObjectError),
}

/// An interpreter whose frames can be walked.
#[derive(Clone, Debug)]
pub struct Found {
    /// For the record's header.
    pub interpreter: schema::Interpreter,
    /// How the kernel side walks its frames.
    pub plan: Plan,
    /// Address of the runtime state.
    pub runtime: u64,
    /// Address of the type of types.
    pub type_type: u64,
    /// Address of the type of strings.
    pub string_type: u64,
    /// Address of the table of names, for interpreters that number them; 0 = it has none, or was not found.
    pub symbols: u64,
    /// How to read what the kernel side sends.
    pub language: &'static dyn Language,
}

/// A code object as the kernel side sent it, or as it was read from memory.
#[derive(Clone, Copy, Debug)]
pub struct CodeFacts<'a> {
    /// Address of the object.
    pub address: u64,
    /// First line.
    pub first_line: i32,
    /// Its line table, or as much of it as was kept.
    pub lines: &'a [u8],
}

/// What a frame's instruction pointer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFacts {
    /// Line of the instruction; of the function itself with `entry`. `None` = the instruction has none (the interpreter
    /// made it up), its entry of the line table was not kept, or it does not lie in the code.
    pub line: Option<u32>,
    /// The frame has been made but has not run an instruction yet.
    pub entry: bool,
}

/// Reads what the kernel side sends. Everything is the target's: any value may come, none may panic or loop for long.
///
/// Two kinds of interpreters: those that count their objects answer for types, dicts and owners; those that keep them in a
/// heap of slots and mark them answer for places in that heap ([`heap`]). What an interpreter has not is `None` or empty.
pub trait Language: fmt::Debug + Sync {
    /// Line of a frame.
    fn frame(&self, plan: &Plan, code: &CodeFacts<'_>, instruction: u64) -> FrameFacts;

    /// A string from its state word, its length in characters and its first bytes; a cut one ends with `…`.
    /// `None` = it was not readable, or of a form that keeps its characters elsewhere.
    fn string(&self, state: u32, characters: u32, bytes: &[u8]) -> Option<String>;

    /// Whether the kernel side could send all of a code object's lines.
    fn is_whole(&self, plan: &Plan, code: &Code) -> bool;

    /// All of a code object's lines, from memory; `None` = the object is not there any more.
    fn whole_lines(&self, plan: &Plan, memory: &dyn Memory, code: &Code) -> Option<Vec<u8>>;

    /// Base name of the instruction in a bytecode unit (opcode in the low byte, argument in the high one). `None` = the
    /// unit is no instruction: the pointer of an outer frame may rest on data behind one.
    fn opcode(&self, _unit: u16, _innermost: bool) -> Option<&'static str> {
        None
    }

    /// Whether the instruction in a bytecode unit runs machine code that was compiled from the instructions of several lines.
    fn enters_compiled(&self, _unit: u16) -> bool {
        false
    }

    /// Whether the interpreter has such instructions.
    fn compiles(&self) -> bool {
        false
    }

    /// What stands for the file of a frame whose function is native code, by the frame's owner; `None` = it is not.
    fn native_file(&self, _owner: u8) -> Option<&'static str> {
        None
    }

    /// The string object at an address, cut after 256 bytes.
    fn text(&self, _plan: &Plan, _memory: &dyn Memory, _string_type: u64, _address: u64) -> Option<String> {
        None
    }

    /// Name of the type object at an address; `None` = there is none, or it cannot be read.
    fn type_name(
        &self,
        _plan: &Plan,
        _memory: &dyn Memory,
        _type_type: u64,
        _address: u64,
    ) -> Option<String> {
        None
    }

    /// Where the parts of the module table lie; `None` = there is no table, or its header makes no sense.
    fn module_table(&self, _table: &ModuleTable) -> Option<DictTable> {
        None
    }

    /// What the type object at an address says of its instances.
    fn shape(&self, _plan: &Plan, _memory: &dyn Memory, _address: u64) -> Option<Shape> {
        None
    }

    /// What an object owns outside itself; `None` = nothing that is known of its type, or it could not be read.
    fn owned(&self, _plan: &Plan, _memory: &dyn Memory, _object: u64, _of: TypeOf<'_>) -> Option<Owned> {
        None
    }

    /// The name that a code object's instruction stores to: of an attribute, or of a variable of a module. `None` = it
    /// stores to none, or it could not be read.
    fn stored_name(
        &self,
        _plan: &Plan,
        _memory: &dyn Memory,
        _string_type: u64,
        _code: u64,
        _unit: u16,
    ) -> Option<String> {
        None
    }

    /// The part of a dict's table that an address lies in, if one begins where a block of memory does.
    fn table_part(&self, _block: u64, _header: &[u8; 32], _size: u64, _address: u64) -> Option<Place> {
        None
    }

    /// The name of the module whose namespace has its table at `keys`; `None` = it is another dict's, or could not be read.
    fn namespace(&self, _plan: &Plan, _memory: &dyn Memory, _string_type: u64, _keys: u64) -> Option<String> {
        None
    }

    /// Where an address lies in the heap, by what the kernel side found; `None` = not in a page of it.
    fn heap_place(&self, _detail: &Detail, _address: u64) -> Option<HeapPlace> {
        None
    }

    /// The records of the heap's pages.
    fn heap_records(&self, _found: &Found, _memory: &dyn Memory) -> Option<Records> {
        None
    }

    /// What lies at an offset in such a record.
    fn record_place(&self, _offset: u64) -> &'static str {
        ""
    }

    /// The offset of an address in the record of an object's page; `None` = it does not lie in that.
    fn offset_in_record(&self, _memory: &dyn Memory, _object: u64, _address: u64) -> Option<u64> {
        None
    }

    /// Whether an address lies in memory that the interpreter sets aside for what lives shortly.
    fn is_transient(&self, _memory: &dyn Memory, _address: u64) -> bool {
        false
    }

    /// Name of the class at an address.
    fn class_name(&self, _found: &Found, _memory: &dyn Memory, _class: u64) -> Option<String> {
        None
    }

    /// What the object at an address owns outside its slot, with the kind of a write to each part.
    fn parts(&self, _memory: &dyn Memory, _object: u64) -> Parts {
        Parts::new()
    }

    /// What belongs to a code object outside itself: its bytecode, and what its instructions remember.
    fn caches(&self, _code: &Code) -> Parts {
        Parts::new()
    }

    /// The same of a code object in memory, which may be none of those that frames have named.
    fn caches_of(&self, _memory: &dyn Memory, _code: u64) -> Parts {
        Parts::new()
    }

    /// Structures of the interpreter's own, with the state of a thread (0 = of none); `None` = they cannot be read.
    fn own_structures(&self, _found: &Found, _memory: &dyn Memory, _state: u64) -> Option<Vec<Own>> {
        None
    }
}

/// What an object owns outside itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owned {
    /// A list's items.
    Items(Range<u64>),
    /// Plain data.
    Buffer(Range<u64>),
    /// A set's table.
    Set(Range<u64>),
    /// A dict's.
    Dict {
        /// Its table; `None` = that could not be read, or makes no sense.
        table: Option<DictTable>,
        /// Where the values begin, where the keys are kept by a class; 0 = they are in the table.
        values: u64,
    },
    /// An instance's attributes.
    Instance {
        /// Where their values begin; 0 = they are in its dict, or in the instance itself.
        values: u64,
        /// Address of its dict; 0 = it has none.
        dict: u64,
        /// The instance itself, its slots included.
        body: Range<u64>,
    },
    /// A module's namespace.
    Module {
        /// Address of the dict.
        dict: u64,
    },
}

/// An object's type.
#[derive(Clone, Copy, Debug)]
pub struct TypeOf<'a> {
    /// Its name, without that of its module.
    pub name: &'a str,
    /// Its flags.
    pub flags: u64,
    /// Its instances.
    pub shape: Shape,
}

/// What a type says of its instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of an instance, without what lies in front of it.
    pub size: u64,
    /// From an instance to the address of its dict; what makes no sense as such means something else.
    pub dict_offset: u64,
}

/// An array of values whose length is not known lies in this many bytes before and behind its first.
const VALUES_BEFORE: u64 = 64;
const VALUES_BEHIND: u64 = 512;

impl Owned {
    /// The part that an address lies in, which an allocator's block holds; `None` = that is not known.
    #[must_use]
    pub fn part(&self, address: u64, block: Option<&Range<u64>>) -> Option<Part> {
        match self {
            Self::Items(range) => range.contains(&address).then_some(Part::Item),
            Self::Buffer(range) => range.contains(&address).then_some(Part::Buffer),
            Self::Set(range) => range.contains(&address).then_some(Part::SetEntry),
            Self::Dict { values, .. } if Self::is_in_values(*values, address, block) => Some(Part::Values),
            Self::Dict { table, .. } => table.as_ref()?.find(address).map(Part::Dict),
            Self::Instance { body, .. } if body.contains(&address) => Some(Part::Body),
            Self::Instance { values, .. } => {
                Self::is_in_values(*values, address, block).then_some(Part::Attribute(None))
            }
            Self::Module { .. } => None,
        }
    }

    /// Whether an address lies in an array of values: in the same block as the first of them, or near it.
    #[must_use]
    pub fn is_in_values(values: u64, address: u64, block: Option<&Range<u64>>) -> bool {
        match block {
            _ if values == 0 => false,
            Some(block) => block.contains(&values) && block.contains(&address),
            None => address.wrapping_sub(values.wrapping_sub(VALUES_BEFORE)) < VALUES_BEFORE + VALUES_BEHIND,
        }
    }
}

/// Part of what an object owns outside itself.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
pub enum Part {
    /// A list's items.
    Item,
    /// A dict's table.
    Dict(Place),
    /// The attributes of an instance that was not found, whose keys its class keeps.
    Values,
    /// An instance's attributes: in an array of values, or in the table of its dict.
    Attribute(Option<Place>),
    /// An instance itself: a slot, or what its type keeps there.
    Body,
    /// A type itself: so many bytes behind its start.
    Type(u64),
    /// A set's table.
    SetEntry,
    /// Plain data.
    Buffer,
}

/// Looks for a known interpreter in a process.
#[must_use]
pub fn discover(pid: u32, maps: &Maps, memory: &dyn Memory) -> Discovery {
    let target = Target { pid, maps, memory };
    INTERPRETERS
        .iter()
        .map(|interpreter| (interpreter.recognise)(&target))
        .find(|discovery| !matches!(discovery, Discovery::None))
        .map_or(Discovery::None, |discovery| on_machine(discovery, arch::knows().interpreters))
}

/// Looks for a known interpreter in a file: a program, or a library. `None` = there is none in it; a program may yet get
/// one from a library.
#[must_use]
pub fn in_file(object: &Object, path: &Path) -> Option<InFile> {
    let found = INTERPRETERS.iter().find_map(|interpreter| (interpreter.in_file)(object, path))?;
    if arch::knows().interpreters {
        return Some(found);
    }
    let interpreter = schema::Interpreter { layout: None, ..found.interpreter };
    Some(InFile { interpreter, language: Err(Reason::Processor) })
}

/// An interpreter that was found is none that can be used where nothing is known of it.
fn on_machine(discovery: Discovery, known: bool) -> Discovery {
    match discovery {
        Discovery::Found(found) if !known => Discovery::Unsupported {
            interpreter: schema::Interpreter { layout: None, ..found.interpreter },
            reason: Reason::Processor,
        },
        discovery => discovery,
    }
}
