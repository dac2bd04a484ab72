//! Builds without the interpreter lock. An object's head is 32 bytes long, there are no pools and no collector's heads.

use cowtrace_ebpf::plan::{Plan, UNUSED};

use super::v3_13::CPYTHON_3_13;
use super::v3_14::{CPYTHON_3_14, CPYTHON_3_15};
use super::{Evidence, Layout, Version};
use crate::interp::python::attributes::Attributes;
use crate::interp::python::strings::StringState;

/// What builds without the lock have in common.
const fn without_lock(plan: Plan) -> Plan {
    Plan {
        code_identity: 80,
        code_first_line: 84,
        code_file: 128,
        code_name: 144,
        code_lines: 152,
        code_names: 48,
        object_size: 32,
        tuple_items: plan.tuple_items + 16,
        string_length: 32,
        string_state: 48,
        string_ascii: 56,
        string_wide: 72,
        bytes_length: 32,
        bytes_data: 48,
        object_type: 24,
        type_name: 40,
        type_flags: 184,
        dict_keys: 48,
        pool_shift: UNUSED,
        // No object has one.
        type_has_gc_bit: 63,
        interpreter_gc_counts: UNUSED,
        ..plan
    }
}

/// CPython 3.13 without the lock.
///
/// * `PyObject`: <https://github.com/python/cpython/blob/v3.13.0/Include/object.h#L124>
pub static PYTHON_3_13T: Layout = Layout {
    name: "cpython-3.13t",
    free_threaded: true,
    attributes: Attributes::InlineAndDict(8),
    plan: Plan { interpreter_modules: 7664, code_bytecode: 216, ..without_lock(CPYTHON_3_13.plan) },
    evidence: &[Evidence::Live("3.13.15 (static)")],
    ..CPYTHON_3_13
};

/// CPython 3.14 without the lock: bytecode has a copy for each thread, of which the first is the code object's own.
///
/// * `_PyInterpreterFrame.tlbc_index`:
///   <https://github.com/python/cpython/blob/v3.14.0/Include/internal/pycore_interpframe_structs.h>
/// * `_PyCodeArray`: <https://github.com/python/cpython/blob/v3.14.0/Include/cpython/code.h>
/// * what a frame's instruction is relative to:
///   <https://github.com/python/cpython/blob/v3.14.0/Include/internal/pycore_interpframe.h>
pub static PYTHON_3_14T: Layout = Layout {
    name: "cpython-3.14t",
    free_threaded: true,
    attributes: Attributes::InlineAndDict(8),
    last: Version(0x030e_ffff),
    plan: Plan {
        interpreter_modules: 7712,
        frame_owner: 78,
        frame_copy: 72,
        code_copies: 224,
        code_bytecode: 232,
        string_ascii_bit: 12,
        ..without_lock(CPYTHON_3_14.plan)
    },
    string_state: StringState::Bytes,
    evidence: &[Evidence::Source("https://github.com/python/cpython/tree/v3.14.0/Include")],
    ..CPYTHON_3_14
};

/// CPython 3.15 without the lock.
pub static PYTHON_3_15T: Layout = Layout {
    name: "cpython-3.15t",
    free_threaded: true,
    attributes: Attributes::InlineAndDict(8),
    plan: Plan {
        interpreter_modules: 7592,
        frame_owner: 78,
        frame_copy: 72,
        code_copies: 224,
        code_bytecode: 232,
        string_ascii_bit: 12,
        ..without_lock(CPYTHON_3_15.plan)
    },
    string_state: StringState::Bytes,
    evidence: &[Evidence::Source("https://github.com/python/cpython/tree/v3.15.0/Include")],
    ..CPYTHON_3_15
};
