//! CPython. Everything that differs between versions is a row of [`layout::LAYOUTS`]; a row is also the
//! [`Language`] of its versions.

pub mod attributes;
pub mod dict;
mod discover;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod layout;
pub mod lines;
mod objects;
mod opcodes;
mod strings;
mod types;
mod version;

use cowtrace_ebpf::plan::{Plan, UNUSED};
use cowtrace_ebpf::state::ModuleTable;

use self::layout::{Layout, Lines, OuterUnit};
use super::{CodeFacts, DictTable, FrameFacts, Language, Owned, Place, Recogniser, Shape, TypeOf};
use crate::event::Code;
use crate::memory::Memory;

/// Row of [`super::INTERPRETERS`].
pub const RECOGNISER: Recogniser =
    Recogniser { name: NAME, recognise: discover::recognise, in_file: file::look };

const NAME: &str = "CPython";

impl Language for Layout {
    fn frame(&self, plan: &Plan, code: &CodeFacts<'_>, instruction: u64) -> FrameFacts {
        if plan.frame_index_shift != UNUSED {
            return self.numbered(code, instruction);
        }
        let start = code.address.wrapping_add(plan.code_bytecode.into());
        // A new frame points to the unit before the first.
        // https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_frame.h#L113
        if instruction == start.wrapping_sub(2) && self.outer_unit != OuterUnit::Exact {
            return FrameFacts { line: u32::try_from(code.first_line).ok(), entry: true };
        }
        let line = u32::try_from(instruction.wrapping_sub(start)).ok();
        FrameFacts { line: line.and_then(|offset| self.line(code, offset)), entry: false }
    }

    fn is_whole(&self, _: &Plan, code: &Code) -> bool {
        code.lines.len() == code.lines_full as usize
    }

    fn whole_lines(&self, plan: &Plan, memory: &dyn Memory, code: &Code) -> Option<Vec<u8>> {
        lines::whole(plan, memory, code)
    }

    fn opcode(&self, unit: u16, innermost: bool) -> Option<&'static str> {
        let number = unit.to_le_bytes()[0];
        let uncertain = match self.outer_unit {
            OuterUnit::Exact => false,
            OuterUnit::LastCache { below } => !innermost && number < below,
        };
        Some(self.opcodes[usize::from(number)]).filter(|name| !uncertain && !name.is_empty())
    }

    fn enters_compiled(&self, unit: u16) -> bool {
        let [number, _] = unit.to_le_bytes();
        self.opcodes[usize::from(number)] == opcodes::ENTER_COMPILED
    }

    fn compiles(&self) -> bool {
        self.opcodes.contains(&opcodes::ENTER_COMPILED)
    }

    fn string(&self, state: u32, characters: u32, bytes: &[u8]) -> Option<String> {
        strings::decode(self.string_state, state, characters, bytes)
    }

    fn text(&self, plan: &Plan, memory: &dyn Memory, string_type: u64, address: u64) -> Option<String> {
        strings::read(self.string_state, plan, memory, string_type, address)
    }

    fn type_name(&self, plan: &Plan, memory: &dyn Memory, type_type: u64, address: u64) -> Option<String> {
        types::name(plan, memory, type_type, address)
    }

    fn module_table(&self, table: &ModuleTable) -> Option<DictTable> {
        self.dict.parse(table.keys, &table.header)
    }

    fn shape(&self, plan: &Plan, memory: &dyn Memory, address: u64) -> Option<Shape> {
        attributes::shape(plan, memory, address)
    }

    fn owned(&self, plan: &Plan, memory: &dyn Memory, object: u64, of: TypeOf<'_>) -> Option<Owned> {
        objects::owned(self, plan, memory, object, of)
    }

    fn stored_name(
        &self,
        plan: &Plan,
        memory: &dyn Memory,
        string_type: u64,
        code: u64,
        unit: u16,
    ) -> Option<String> {
        objects::stored_name(self, plan, memory, string_type, code, unit)
    }

    fn table_part(&self, block: u64, header: &[u8; 32], size: u64, address: u64) -> Option<Place> {
        objects::table_part(self, block, header, size, address)
    }

    fn namespace(&self, plan: &Plan, memory: &dyn Memory, string_type: u64, keys: u64) -> Option<String> {
        objects::namespace(self, plan, memory, string_type, keys)
    }
}

impl Layout {
    /// A frame that holds the offset of its instruction, negative before the first.
    fn numbered(&self, code: &CodeFacts<'_>, offset: u64) -> FrameFacts {
        if offset.cast_signed() < 0 {
            return FrameFacts { line: u32::try_from(code.first_line).ok(), entry: true };
        }
        let line = u32::try_from(offset).ok().and_then(|offset| self.line(code, offset));
        FrameFacts { line, entry: false }
    }

    /// Line of the instruction at an offset in bytes.
    fn line(&self, code: &CodeFacts<'_>, offset: u32) -> Option<u32> {
        match self.lines {
            Lines::Lnotab => lines::lnotab(code.lines, code.first_line, offset),
            Lines::Linetable310 => lines::linetable(code.lines, code.first_line, offset),
            Lines::Locations311 => lines::locations(code.lines, code.first_line, offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::layout::{PYTHON_3_11, PYTHON_3_12, PYTHON_3_13, PYTHON_3_14, PYTHON_3_15};
    use super::*;

    #[test]
    fn a_frame_that_has_not_run_has_the_functions_line() {
        let code = CodeFacts { address: 0x1000, first_line: 7, lines: &[0x80, 0x00] };
        let frame = |offset: u64| {
            PYTHON_3_11.frame(&PYTHON_3_11.plan, &code, 0x1000_u64.wrapping_add(184).wrapping_add(offset))
        };
        assert_eq!(frame(2_u64.wrapping_neg()), FrameFacts { line: Some(7), entry: true });
        assert_eq!(frame(0), FrameFacts { line: Some(7), entry: false });
        assert_eq!(frame(2).line, None, "behind the code");
        assert_eq!(frame(4_u64.wrapping_neg()).line, None);
    }

    #[test]
    fn an_outer_frames_cache_is_no_instruction() {
        let unit = |number: u8| u16::from_le_bytes([number, 0]);
        assert_eq!(PYTHON_3_11.opcode(unit(1), true), Some("POP_TOP"));
        assert_eq!(PYTHON_3_11.opcode(unit(1), false), None, "may be the CALL's least number of arguments");
        assert_eq!(PYTHON_3_11.opcode(unit(108), false), Some("IMPORT_NAME"));
        assert_eq!(PYTHON_3_11.opcode(unit(0), true), None);
    }

    #[test]
    fn compiled_code() {
        let unit = |number: u8| u16::from_le_bytes([number, 7]);
        assert!(!PYTHON_3_12.compiles() && PYTHON_3_13.compiles() && PYTHON_3_14.compiles());
        assert!(PYTHON_3_13.enters_compiled(unit(70)) && !PYTHON_3_13.enters_compiled(unit(255)));
        assert!(PYTHON_3_14.enters_compiled(unit(255)) && PYTHON_3_15.enters_compiled(unit(254)));
    }
}
