//! Everything that is known about one write, gathered for the rules. Nothing here decides.

use std::collections::HashMap;

use cowtrace_ebpf::event::Image;

use super::stack::KnownStack;

/// `Py_TPFLAGS_HAVE_GC`: objects of the type have a collector's head.
/// <https://github.com/python/cpython/blob/v3.11.7/Include/object.h#L363>
const HAVE_GC: u64 = 1 << 14;

/// A type whose name is known.
#[derive(Clone, Debug)]
pub struct KnownType {
    /// Its name.
    pub name: String,
    /// Its flags; 0 = unknown.
    pub flags: u64,
}

impl KnownType {
    /// Whether its objects have a collector's head.
    #[must_use]
    pub const fn has_gc_head(&self) -> bool {
        self.flags & HAVE_GC != 0
    }
}

/// The place in `sys.modules` that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleEntry {
    /// The key; `None` = not readable.
    pub key: Option<String>,
    /// The entry had a value that is now replaced or removed.
    pub existing: bool,
}

/// Before the first interpreter frame, or after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub region_kind: &'static str,
    /// The kernel wrote.
    pub kernel_mode: bool,
    /// … for this system call.
    pub syscall: Option<String>,
    /// Memory around the address before the write.
    pub image: Option<&'a Image>,
    /// Types of the process, by address.
    pub types: &'a HashMap<(u64, u64), KnownType>,
    /// First half of the key into `types`.
    pub image_id: u64,
    /// Set if the address lies in the table of `sys.modules` in use.
    pub module_entry: Option<ModuleEntry>,
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
    pub no_stack: Option<&'static str>,
}

impl Evidence<'_> {
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
    pub fn type_at(&self, offset: u64) -> Option<&KnownType> {
        self.types.get(&(self.image_id, self.word(offset)?))
    }
}
