//! Everything that is known about one write, gathered for the rules. Nothing here decides.

use std::ops::Range;

use cowtrace_ebpf::event::Image;
use serde::{Deserialize, Serialize};

use super::block::{Block, Object};
use super::stack::KnownStack;
use super::types::{KnownType, Types};
use crate::interp::Part;
use crate::interp::heap::HeapPlace;
use crate::symbolize::instruction::Store;
use crate::symbolize::native::StaticData;

/// An object that owns the memory that was written, and which part of that memory it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// Its address; 0 = not known.
    pub address: u64,
    /// Its type.
    pub of: String,
    /// The part.
    pub part: Part,
    /// What it is: the module whose namespace it is.
    pub module: Option<String>,
    /// Type of the key, if that is no text.
    pub key_type: Option<String>,
}

/// A structure of the interpreter itself.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Structure {
    /// The thread's chunk of frames.
    Frames,
    /// The thread's state.
    ThreadState,
    /// An interpreter's state.
    InterpreterState,
    /// The bytecode of a code object.
    Bytecode,
}

/// Memory of an interpreter that keeps its objects in a heap of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slotted {
    /// In a page of the heap.
    Heap {
        /// Where.
        place: HeapPlace,
        /// Name of the object's class, or of what is made in a free slot.
        class: Option<String>,
    },
    /// In the collector's record of such a page: which part.
    Record(&'static str),
    /// A structure of the interpreter: kind of the write, name.
    Own(&'static str, &'static str),
    /// What the instructions of a function remember: which part.
    Cache(&'static str),
    /// Owned by an object: kind of the write, the object's class.
    Owned(&'static str, Option<String>),
}

/// What memory tells of a process without interpreter.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Heap {
    /// The allocator that it uses instead of the C library's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocator: Option<String>,
    /// The chunk of glibc's `malloc` that holds the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<Chunk>,
}

/// A chunk of glibc's `malloc`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Chunk {
    /// Where it begins: 16 bytes before the program's part.
    pub address: u64,
    /// Bytes from there to the next one.
    pub size: u64,
    /// Distance of the written address from its start; what the program may use reaches 8 bytes beyond the size.
    pub offset: u64,
    /// The part.
    pub part: ChunkPart,
}

/// What of a chunk, or which chunk.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum ChunkPart {
    /// The word with its size.
    Size,
    /// The program's part.
    Data,
    /// The same of a free chunk that is no small one.
    Free,
    /// What no chunk has been taken from yet.
    Top,
    /// A thread's lists of free chunks.
    ThreadCache,
    /// The arena of the heap of a thread.
    Arena,
}

/// The place in `sys.modules` that was written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct ModuleEntry {
    /// The key; `None` = not readable.
    pub key: Option<String>,
    /// The entry had a value that is now replaced or removed.
    pub existing: bool,
}

/// Before the first interpreter frame, or after the last.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// The program is being loaded, or its interpreter is starting.
    Startup,
    /// The interpreter is being taken down.
    Exit,
}

/// What is known about one write.
#[derive(Clone)]
pub struct Evidence<'a> {
    /// The exact address.
    pub address: u64,
    /// Kind of the region that holds it.
    pub region_kind: &'a str,
    /// The kernel wrote.
    pub kernel_mode: bool,
    /// … for this system call.
    pub syscall: Option<String>,
    /// … of a thread of another process, or on the kernel's own account.
    pub foreign: bool,
    /// Memory around the address before the write.
    pub image: Option<&'a Image>,
    /// Types of the process, by address.
    pub types: &'a Types,
    /// First half of the key into `types`.
    pub image_id: u64,
    /// Distance from an object's start to its type; 0 = no interpreter.
    pub type_distance: u64,
    /// Set if the address lies in the table of `sys.modules` in use.
    pub module_entry: Option<ModuleEntry>,
    /// Address of the dict `sys.modules` at the fork; 0 = not known.
    pub modules: u64,
    /// What the instruction stores, and how; `None` = its bytes could not be read, or it is no store.
    pub store: Option<Store>,
    /// The allocator's block that holds the address.
    pub block: Option<Block>,
    /// The pool of that block; empty = none.
    pub pool: Range<u64>,
    /// The object that owns what the address lies in, verified in memory.
    pub owner: Option<Owner>,
    /// The structure of the interpreter that the address lies in.
    pub structure: Option<Structure>,
    /// What it is of an interpreter that keeps its objects in a heap of slots.
    pub slotted: Option<Slotted>,
    /// The interpreter says of itself that its collector is at work.
    pub collecting: bool,
    /// The variable of a program or library that the address lies in.
    pub data: Option<&'a StaticData>,
    /// What memory tells of a process without interpreter; `None` = it has one.
    pub heap: Option<Heap>,
    /// The address lies next to the thread's stack pointer, in the same mapping.
    pub near_stack: bool,
    /// Name of the attribute or variable that the innermost frame's instruction stores.
    pub stored_name: Option<String>,
    /// A type in one of the registers: what is being made.
    pub type_in_register: Option<String>,
    /// … which is what the instruction stores.
    pub stores_type: bool,
    /// The interpreter stack.
    pub stack: Option<&'a KnownStack>,
    /// The stack inside whose fork the process was made, or which it forked last.
    pub fork_stack: Option<&'a KnownStack>,
    /// Innermost native symbol.
    pub symbol: Option<&'a str>,
    /// File that holds the instruction.
    pub object: Option<&'a str>,
    /// The instruction lies in the file that holds the interpreter.
    pub in_interpreter: bool,
    /// One of a run of writes to collector heads from one instruction.
    pub collector_run: bool,
    /// There should be interpreter frames, but they could not be had.
    pub frames_missing: bool,
    /// What a thread without interpreter frames is at, if its past tells.
    pub phase: Option<Phase>,
    /// Why there is no interpreter stack, if one could be expected.
    pub no_stack: Option<&'a str>,
    /// The process was forked, or has forked, since it began what it runs.
    pub forked: bool,
}

impl<'a> Evidence<'a> {
    /// Nothing is known but where the write was.
    #[cfg(test)]
    pub(crate) fn of_nothing(address: u64, types: &'a Types) -> Self {
        Self {
            address,
            region_kind: "anonymous",
            kernel_mode: false,
            syscall: None,
            foreign: false,
            image: None,
            types,
            image_id: 1,
            type_distance: 8,
            module_entry: None,
            modules: 0,
            store: None,
            block: None,
            pool: 0..0,
            owner: None,
            structure: None,
            slotted: None,
            collecting: false,
            data: None,
            heap: None,
            near_stack: false,
            stored_name: None,
            type_in_register: None,
            stores_type: false,
            stack: None,
            fork_stack: None,
            symbol: None,
            object: None,
            in_interpreter: false,
            collector_run: false,
            frames_missing: false,
            phase: None,
            no_stack: None,
            forked: false,
        }
    }

    /// The 8-byte word at this distance from the written one, as it was before; `None` = not kept.
    #[must_use]
    pub fn word(&self, offset: u64) -> Option<u64> {
        let image = self.image?;
        let at = (self.address & !7).wrapping_add(offset).checked_sub(image.address)?;
        if at.checked_add(8)? > u64::from(image.len) {
            return None;
        }
        image.words.get(usize::try_from(at / 8).ok()?).copied()
    }

    /// The type that the word at this distance points to.
    #[must_use]
    pub fn type_at(&self, offset: u64) -> Option<&'a KnownType> {
        self.types.get(&(self.image_id, self.word(offset)?))
    }

    /// The live object that holds the address, and the distance from its start.
    #[must_use]
    pub fn object_part(&self) -> Option<(&Object, u64)> {
        let object = self.block.as_ref()?.object.as_ref()?;
        Some((object, self.address.checked_sub(object.address)?))
    }

    /// Whether an address lies in the pool that holds the written one.
    #[must_use]
    pub fn is_same_pool(&self, address: u64) -> bool {
        self.pool.contains(&address)
    }

    /// Base name of the innermost frame's instruction.
    #[must_use]
    pub fn op(&self) -> Option<&'static str> {
        self.stack?.frames.first()?.shown.op
    }

    /// Whether the instruction lies in the C library.
    #[must_use]
    pub fn in_libc(&self) -> bool {
        let name = self.object.and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        name.starts_with("libc.so") || name.starts_with("libc-") || name.starts_with("ld-musl")
    }
}
