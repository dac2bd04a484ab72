//! 3.8 to 3.10: frames are objects.

use cowtrace_ebpf::plan::{Plan, UNUSED};

use super::v3_11::CPYTHON_3_11;
use super::{Evidence, Layout, Lines, OuterUnit, Version};
use crate::interp::python::attributes::Attributes;
use crate::interp::python::dict::{DictLayout, SizeAt};
use crate::interp::python::opcodes;

/// Tables of dicts until 3.10: <https://github.com/python/cpython/blob/v3.10.13/Objects/dict-common.h#L21>.
const DICT: DictLayout =
    DictLayout { size: SizeAt::Slots(8), kind: UNUSED, usable: 24, entries: UNUSED, indices: 40 };

/// CPython 3.10, all final releases.
///
/// * `_PyRuntimeState`: <https://github.com/python/cpython/blob/v3.10.13/Include/internal/pycore_runtime.h#L53>
/// * `PyInterpreterState`: <https://github.com/python/cpython/blob/v3.10.13/Include/internal/pycore_interp.h#L218>
/// * `PyThreadState`: <https://github.com/python/cpython/blob/v3.10.13/Include/cpython/pystate.h#L62>
/// * `PyFrameObject`: <https://github.com/python/cpython/blob/v3.10.13/Include/cpython/frameobject.h#L28>
/// * `PyCodeObject`: <https://github.com/python/cpython/blob/v3.10.13/Include/cpython/code.h#L17>
pub static PYTHON_3_10: Layout = CPYTHON_3_10;

const CPYTHON_3_10: Layout = Layout {
    name: "cpython-3.10",
    first: Version(0x030a_00f0),
    last: Version(0x030a_ffff),
    plan: Plan {
        runtime_current: 568,
        runtime_interpreters: 32,
        interpreter_next: 0,
        interpreter_threads: 8,
        interpreter_modules: 856,
        thread_ident: 176,
        thread_frame: 24,
        control_frame: UNUSED,
        // Up to f_lasti.
        frame_size: 104,
        frame_code: 32,
        frame_previous: 24,
        frame_instruction: 96,
        // A number of instructions, of 2 bytes each.
        frame_index_shift: 1,
        frame_owner: UNUSED,
        frame_local0: 352,
        // From co_firstlineno to co_name.
        code_identity: 40,
        code_first_line: 40,
        code_file: 104,
        code_name: 112,
        code_lines: 120,
        code_bytecode: 48,
        code_names: 64,
        thread_chunk: UNUSED,
        interpreter_gc_counts: 660,
        ..CPYTHON_3_11.plan
    },
    runtime_main: 40,
    interpreter_id: 24,
    dict: DICT,
    attributes: Attributes::Dict,
    lines: Lines::Linetable310,
    outer_unit: OuterUnit::Exact,
    opcodes: &opcodes::PYTHON_3_10,
    evidence: &[Evidence::Live("3.10.13 (shared library)")],
    ..CPYTHON_3_11
};

/// CPython 3.9, all final releases.
///
/// * `PyFrameObject`: <https://github.com/python/cpython/blob/v3.9.18/Include/cpython/frameobject.h#L17>
/// * pools of 4 KiB: <https://github.com/python/cpython/blob/v3.9.18/Objects/obmalloc.c#L893>
pub static PYTHON_3_9: Layout = CPYTHON_3_9;

const CPYTHON_3_9: Layout = Layout {
    name: "cpython-3.9",
    first: Version(0x0309_00f0),
    last: Version(0x0309_ffff),
    plan: Plan {
        frame_size: 112,
        frame_instruction: 104,
        // An offset in bytes.
        frame_index_shift: 0,
        frame_local0: 360,
        pool_shift: 12,
        ..CPYTHON_3_10.plan
    },
    lines: Lines::Lnotab,
    opcodes: &opcodes::PYTHON_3_9,
    evidence: &[Evidence::Live("3.9.18 (shared library)")],
    ..CPYTHON_3_10
};

/// CPython 3.8, all final releases.
///
/// * `_PyRuntimeState`, with the collector in it:
///   <https://github.com/python/cpython/blob/v3.8.18/Include/internal/pycore_pystate.h#L200>
/// * `PyInterpreterState`: <https://github.com/python/cpython/blob/v3.8.18/Include/internal/pycore_pystate.h#L61>
pub static PYTHON_3_8: Layout = Layout {
    name: "cpython-3.8",
    first: Version(0x0308_00f0),
    last: Version(0x0308_ffff),
    plan: Plan {
        runtime_current: 1368,
        interpreter_modules: 56,
        interpreter_gc_counts: UNUSED,
        runtime_gc_counts: 388,
        ..CPYTHON_3_9.plan
    },
    interpreter_id: 16,
    opcodes: &opcodes::PYTHON_3_8,
    evidence: &[Evidence::Live("3.8.18 (shared library)")],
    ..CPYTHON_3_9
};
