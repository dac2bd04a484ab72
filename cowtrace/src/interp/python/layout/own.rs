//! The offsets that an interpreter tells of itself since 3.13, at the start of its runtime state:
//! <https://github.com/python/cpython/blob/v3.13.0/Include/internal/pycore_debug_offsets.h>.
//!
//! They are the target's memory and may be anything: each is checked against the row's bounds before it is used.

use cowtrace_ebpf::plan::{FRAME_WORDS, Plan, STATE_WORDS, UNUSED};

use super::Version;
use crate::memory::Memory;

/// What they begin with.
pub const COOKIE: &[u8; 8] = b"xdebugpy";
/// Offsets into the state of the runtime and of interpreters that are believed at most.
const MOST: u64 = 32 << 10;
/// Offsets into other structures that are believed at most.
const MOST_SMALL: u64 = 1024;

/// Sets one offset of a plan.
type Set = fn(&mut Plan, u16);

/// Positions of the offsets of one minor version, each an u64.
#[derive(Debug)]
pub struct OwnOffsets {
    /// Into large structures: the runtime's and interpreters' states.
    large: &'static [(u16, Set)],
    /// Into small ones.
    small: &'static [(u16, Set)],
}

/// What an interpreter tells of itself before its offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its version.
    pub version: Version,
    /// It was built without the lock.
    pub free_threaded: bool,
}

/// Why an interpreter's own offsets cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// They could not be read.
    Unreadable,
    /// One is too large to be true.
    Absurd,
}

/// What stands at the start of a runtime state; `None` = this is none that tells of itself.
#[must_use]
pub fn told(memory: &dyn Memory, runtime: u64) -> Option<Told> {
    let mut cookie = [0; 8];
    memory.read(runtime, &mut cookie).ok()?;
    if cookie != *COOKIE {
        return None;
    }
    let version = u32::try_from(memory.u64(runtime.checked_add(8)?).ok()?).ok()?;
    let free_threaded = memory.u64(runtime.checked_add(16)?).ok()? != 0;
    Some(Told { version: Version(version), free_threaded })
}

impl OwnOffsets {
    /// Puts the interpreter's offsets into a plan in place of the row's.
    ///
    /// # Errors
    /// They cannot be used; the plan is then what it was.
    pub fn apply(&self, plan: &mut Plan, memory: &dyn Memory, runtime: u64) -> Result<(), Unusable> {
        let mut changed = *plan;
        for (entries, most) in [(self.large, MOST), (self.small, MOST_SMALL)] {
            for (position, set) in entries {
                let at = runtime.checked_add((*position).into()).ok_or(Unusable::Unreadable)?;
                let offset = memory.u64(at).map_err(|_unreadable| Unusable::Unreadable)?;
                let offset = u16::try_from(offset).ok().filter(|&offset| u64::from(offset) < most);
                set(&mut changed, offset.ok_or(Unusable::Absurd)?);
            }
        }
        let window = changed.frame_code.max(changed.frame_previous).max(changed.frame_instruction);
        if usize::from(window) + 8 > FRAME_WORDS * 8 || usize::from(changed.frame_owner) >= FRAME_WORDS * 8 {
            return Err(Unusable::Absurd);
        }
        let copy_end = if changed.frame_copy == UNUSED { 0 } else { changed.frame_copy.saturating_add(4) };
        if usize::from(copy_end) > FRAME_WORDS * 8
            || (changed.frame_copy == UNUSED) != (changed.code_copies == UNUSED)
        {
            return Err(Unusable::Absurd);
        }
        if changed.state_size() as usize > STATE_WORDS * 8 {
            return Err(Unusable::Absurd);
        }
        changed.frame_size = (window + 8).max(changed.frame_owner + 1).max(copy_end).next_multiple_of(8);
        *plan = changed;
        Ok(())
    }
}

/// Offsets that builds with the lock tell as 0.
const fn or_unused(offset: u16) -> u16 {
    if offset == 0 { UNUSED } else { offset }
}

/// 3.13: <https://github.com/python/cpython/blob/v3.13.0/Include/internal/pycore_debug_offsets.h#L30>.
pub(super) static OWN_3_13: OwnOffsets = OwnOffsets {
    large: &[
        (40, |plan, offset| plan.runtime_interpreters = offset),
        (64, |plan, offset| plan.interpreter_next = offset),
        (72, |plan, offset| plan.interpreter_threads = offset),
        (88, |plan, offset| plan.interpreter_modules = offset),
    ],
    small: &[
        (168, |plan, offset| plan.thread_next = offset),
        (184, |plan, offset| plan.thread_frame = offset),
        (192, |plan, offset| plan.thread_ident = offset),
        (208, |plan, offset| plan.thread_chunk = offset),
        (232, |plan, offset| plan.frame_previous = offset),
        (240, |plan, offset| plan.frame_code = offset),
        (248, |plan, offset| plan.frame_instruction = offset),
        (256, |plan, offset| plan.frame_local0 = offset),
        (264, |plan, offset| plan.frame_owner = offset),
        (280, |plan, offset| plan.code_file = offset),
        (296, |plan, offset| plan.code_name = offset),
        (304, |plan, offset| plan.code_lines = offset),
        (312, |plan, offset| plan.code_first_line = offset),
        (344, |plan, offset| plan.code_bytecode = offset),
        (360, |plan, offset| plan.object_type = offset),
        (376, |plan, offset| plan.type_name = offset),
        (456, |plan, offset| plan.dict_keys = offset),
        (528, |plan, offset| plan.bytes_data = offset),
        (560, |plan, offset| plan.string_ascii = offset),
    ],
};

/// 3.14: <https://github.com/python/cpython/blob/v3.14.0/Include/internal/pycore_debug_offsets.h>.
pub(super) static OWN_3_14: OwnOffsets = OwnOffsets {
    large: &[
        (40, |plan, offset| plan.runtime_interpreters = offset),
        (64, |plan, offset| plan.interpreter_next = offset),
        (72, |plan, offset| plan.interpreter_threads = offset),
        (96, |plan, offset| plan.interpreter_modules = offset),
    ],
    small: &[
        (192, |plan, offset| plan.thread_next = offset),
        (208, |plan, offset| plan.thread_frame = offset),
        (216, |plan, offset| plan.thread_ident = offset),
        (232, |plan, offset| plan.thread_chunk = offset),
        (256, |plan, offset| plan.frame_previous = offset),
        (264, |plan, offset| plan.frame_code = offset),
        (272, |plan, offset| plan.frame_instruction = offset),
        (280, |plan, offset| plan.frame_local0 = offset),
        (288, |plan, offset| plan.frame_owner = offset),
        (320, |plan, offset| plan.code_file = offset),
        (336, |plan, offset| plan.code_name = offset),
        (344, |plan, offset| plan.code_lines = offset),
        (352, |plan, offset| plan.code_first_line = offset),
        (304, |plan, offset| plan.frame_copy = or_unused(offset)),
        (384, |plan, offset| plan.code_bytecode = offset),
        (392, |plan, offset| plan.code_copies = or_unused(offset)),
        (408, |plan, offset| plan.object_type = offset),
        (424, |plan, offset| plan.type_name = offset),
        (536, |plan, offset| plan.dict_keys = offset),
        (608, |plan, offset| plan.bytes_data = offset),
        (640, |plan, offset| plan.string_ascii = offset),
    ],
};

/// 3.15: <https://github.com/python/cpython/blob/v3.15.0/Include/internal/pycore_debug_offsets.h>.
pub(super) static OWN_3_15: OwnOffsets = OwnOffsets {
    large: &[
        (40, |plan, offset| plan.runtime_interpreters = offset),
        (64, |plan, offset| plan.interpreter_next = offset),
        (72, |plan, offset| plan.interpreter_threads = offset),
        (96, |plan, offset| plan.interpreter_modules = offset),
    ],
    small: &[
        (192, |plan, offset| plan.thread_next = offset),
        (208, |plan, offset| plan.thread_frame = offset),
        (240, |plan, offset| plan.thread_ident = offset),
        (256, |plan, offset| plan.thread_chunk = offset),
        (320, |plan, offset| plan.frame_previous = offset),
        (328, |plan, offset| plan.frame_code = offset),
        (336, |plan, offset| plan.frame_instruction = offset),
        (344, |plan, offset| plan.frame_local0 = offset),
        (352, |plan, offset| plan.frame_owner = offset),
        (384, |plan, offset| plan.code_file = offset),
        (400, |plan, offset| plan.code_name = offset),
        (408, |plan, offset| plan.code_lines = offset),
        (416, |plan, offset| plan.code_first_line = offset),
        (368, |plan, offset| plan.frame_copy = or_unused(offset)),
        (448, |plan, offset| plan.code_bytecode = offset),
        (456, |plan, offset| plan.code_copies = or_unused(offset)),
        (472, |plan, offset| plan.object_type = offset),
        (488, |plan, offset| plan.type_name = offset),
        (632, |plan, offset| plan.dict_keys = offset),
        (704, |plan, offset| plan.bytes_data = offset),
        (736, |plan, offset| plan.string_ascii = offset),
    ],
};
