//! Native stacks from copies of them: which functions called which, in code without frame pointers too. Layer 7.
//!
//! The kernel program copies a stack once for each new place ([`cowtrace_ebpf::native`]); here it is unwound by the unwind
//! tables that compilers write for exceptions (`.eh_frame`, kept in stripped files), by gimli's reading of them. What was
//! read on the way becomes the template by which the kernel program knows the stack again.
//!
//! **Why gimli and a loop of our own, not an unwinder like framehop:** a template has to name the words and registers that
//! decide, and no others: a saved register that no frame's address was computed from changes at every call and would make
//! one stack look like many. So the loop keeps for each register where its value came from, and counts that only when it is
//! used. The whole register set is restored (frames are found from `rbx` or `r10`, too, where a stack is realigned), and
//! expressions are evaluated (signal frames, the procedure linkage table), which rules for `rsp` and `rbp` alone are not
//! enough for.
//!
//! **Interpreters**: outside the innermost run of an interpreter's loop the frames follow from the interpreter's own stack,
//! which is part of the place's key. They are not compared again: a template of a few words is what keeps the cost of a
//! Python program's faults where it was.
//!
//! **Frame pointers** are used where a file has no table for an address: machine code made at run time, Go, assembly.
//!
//! **Machines**: registers, and where a frame keeps what of its caller's, are those of x86-64. On others the kernel program copies
//! no stack ([`crate::arch::Knows::callers`]).
//!
//! **Hostile targets**: the stack and the files are the target's. Tables are bounded in size, a table's program and its
//! expressions in steps, a stack in frames; a panic over a file ends one stack.

mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod registers;
mod step;
mod table;
mod template;
mod vdso;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cowtrace_ebpf::native::{Template, copy_end};

use crate::event::StackCopy;
use crate::process::maps::{Kind, Mapping, Maps};
use registers::{Registers, Words};
use step::Stepped;

pub use files::Tables;
pub use template::fits;

/// Frames kept of a stack.
pub const MAX_FRAMES: usize = 127;

macro_rules! ends {
    ($($variant:ident, $about:literal;)*) => {
        /// Why a stack ends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum End { $(#[doc = $about] $variant,)* }

        impl End {
            /// Why it is not whole, in words.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(End::$variant => $about,)* }
            }
        }
    };
}

ends! {
    Complete, "the outermost frame was reached";
    TooDeep, "the stack has more frames than are kept";
    Limit, "the stack is larger than what is copied of it";
    Unreadable, "the stack could not be read there";
    Elsewhere, "the stack goes on in other memory";
    NoTable, "there is no unwind information for the code, and no frame pointer";
    NoCode, "a return address leads to no code";
    Malformed, "the unwind information of the code does not hold together";
    OtherMode, "code of 32 bits";
    TooMany, "there are more different stacks than are kept";
}

/// A native stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unwound {
    /// Addresses to look up, innermost first: the instruction that faulted; of each caller the last byte of its call.
    pub addresses: Vec<u64>,
    /// Why there are no more.
    pub end: End,
}

/// An unwound stack and what it was known by.
#[derive(Clone, Debug)]
pub struct Known {
    /// The stack.
    pub stack: Unwound,
    /// Its template, without a number; `None` = it depends on more than a template holds.
    pub template: Option<Template>,
}

/// Code segment of a program of 64 bits (`arch/x86/include/asm/segment.h`).
const CODE_64: u64 = 0x33;
/// Position of the code segment in `struct pt_regs`.
const CODE_SEGMENT: usize = 17;

/// Unwinds a copy. `pid` is a process that has the files of these mappings.
pub fn unwind(tables: &mut Tables, pid: u32, maps: &Maps, copy: &StackCopy) -> Known {
    let mut registers = Registers::new(&copy.registers);
    let innermost = registers.pc;
    if copy.registers[CODE_SEGMENT] != CODE_64 {
        let stack = Unwound { addresses: vec![innermost], end: End::OtherMode };
        return Known { template: template::of(&Words::new(copy), &registers), stack };
    }
    let mut words = Words::new(copy);
    let mut walk = Walk { addresses: vec![innermost], tables, pid, maps, settled: false };
    // The files are the target's and may be broken on purpose; a panic over one is an answer, too.
    let walked = catch_unwind(AssertUnwindSafe(|| walk.walk(&mut registers, &mut words, copy)));
    let end = match walked.unwrap_or(End::Malformed) {
        End::Unreadable if copy.end == copy_end::LIMIT && words.beyond() => End::Limit,
        End::Unreadable if copy.end == copy_end::TOP => End::Elsewhere,
        end => end,
    };
    let stack = Unwound { addresses: walk.addresses, end };
    Known { template: template::of(&words, &registers), stack }
}

/// A walk under way.
struct Walk<'a> {
    addresses: Vec<u64>,
    tables: &'a mut Tables,
    pid: u32,
    maps: &'a Maps,
    /// An interpreter's loop was reached, whose callers are those of its stack.
    settled: bool,
}

impl Walk<'_> {
    fn walk(&mut self, registers: &mut Registers, words: &mut Words<'_>, copy: &StackCopy) -> End {
        // Of the innermost frame, and of one that a signal interrupted, the address is that of the next instruction to run.
        let mut exact = true;
        loop {
            let at = registers.pc.wrapping_sub(u64::from(!exact));
            let stepped = match self.step(at, registers, words) {
                Ok(stepped) => stepped,
                Err(end) => return end,
            };
            if copy.interpreter_stack != 0 && stepped.interpreter && !self.settled {
                self.settled = true;
                words.settle();
            }
            if stepped.outermost {
                return End::Complete;
            }
            exact = stepped.signal;
            if self.addresses.len() >= MAX_FRAMES {
                return End::TooDeep;
            }
            let address = registers.pc.wrapping_sub(u64::from(!exact));
            if self.code(address).is_none() {
                return End::NoCode;
            }
            self.addresses.push(address);
        }
    }

    /// The mapping of code at an address.
    fn code(&self, address: u64) -> Option<&Mapping> {
        self.maps.find(address).filter(|mapping| mapping.executable)
    }

    /// Goes from a frame to its caller's.
    fn step(&mut self, at: u64, registers: &mut Registers, words: &mut Words<'_>) -> Result<Stepped, End> {
        let mapping = self.maps.find(at).filter(|mapping| mapping.executable).ok_or(End::NoCode)?;
        let has_table = match &mapping.kind {
            Kind::File => true,
            Kind::Special(name) => name == vdso::NAME,
            Kind::Heap | Kind::Stack | Kind::Anonymous => false,
        };
        if has_table
            && let Some((table, bias)) = self.tables.of(self.pid, mapping)
            && let Some(stepped) = table.step(at.wrapping_sub(bias), registers, words)?
        {
            return Ok(stepped);
        }
        step::by_frame_pointer(registers, words)
    }
}

#[cfg(test)]
mod tests;
