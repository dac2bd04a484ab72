//! Ruby (MRI, also called CRuby). Everything that differs between versions is a row of [`layout::LAYOUTS`]; a row is also the
//! [`Language`] of its versions.

mod classes;
mod discover;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod heap;
pub mod layout;
mod lines;
mod objects;
mod symbols;

use cowtrace_ebpf::event::{Detail, NATIVE_METHOD};
use cowtrace_ebpf::plan::Plan;

use self::layout::Layout;
use super::heap::{HeapPlace, Own, Parts, Records};
use super::{CodeFacts, Found, FrameFacts, Language, Recogniser};
use crate::event::Code;
use crate::memory::Memory;

/// Row of [`super::INTERPRETERS`].
pub const RECOGNISER: Recogniser =
    Recogniser { name: NAME, recognise: discover::recognise, in_file: discover::in_file };

const NAME: &str = "Ruby";

/// The file of methods that are native code, which have none. Ruby itself calls that of its own methods `<internal:kernel>`.
pub const NATIVE: &str = "<native>";

impl Language for Layout {
    fn frame(&self, plan: &Plan, code: &CodeFacts<'_>, instruction: u64) -> FrameFacts {
        FrameFacts { line: lines::line(plan, code.lines, instruction), entry: false }
    }

    fn string(&self, _: u32, characters: u32, bytes: &[u8]) -> Option<String> {
        symbols::decode(characters, bytes)
    }

    fn is_whole(&self, plan: &Plan, code: &Code) -> bool {
        lines::is_whole(plan, code)
    }

    fn whole_lines(&self, plan: &Plan, memory: &dyn Memory, code: &Code) -> Option<Vec<u8>> {
        lines::read(plan, memory, code)
    }

    fn native_file(&self, owner: u8) -> Option<&'static str> {
        (owner == NATIVE_METHOD).then_some(NATIVE)
    }

    fn caches(&self, code: &Code) -> Parts {
        lines::caches(self, code)
    }

    fn caches_of(&self, memory: &dyn Memory, code: u64) -> Parts {
        lines::caches_of(self, memory, code).unwrap_or_default()
    }

    fn heap_records(&self, found: &Found, memory: &dyn Memory) -> Option<Records> {
        heap::records(self, found, memory)
    }

    fn heap_place(&self, detail: &Detail, address: u64) -> Option<HeapPlace> {
        heap::place(self, detail, address)
    }

    fn record_place(&self, offset: u64) -> &'static str {
        heap::record_part(self, offset)
    }

    fn offset_in_record(&self, memory: &dyn Memory, object: u64, address: u64) -> Option<u64> {
        heap::offset_in_record(self, memory, object, address)
    }

    fn is_transient(&self, memory: &dyn Memory, address: u64) -> bool {
        heap::is_transient(self, memory, address)
    }

    fn class_name(&self, found: &Found, memory: &dyn Memory, class: u64) -> Option<String> {
        classes::name(self, found, memory, class)
    }

    fn parts(&self, memory: &dyn Memory, object: u64) -> Parts {
        objects::parts(self, memory, object).unwrap_or_default()
    }

    fn own_structures(&self, found: &Found, memory: &dyn Memory, context: u64) -> Option<Vec<Own>> {
        heap::own(self, found, memory, context)
    }
}
