//! 3.11 and 3.12: frames without objects, in chunks of memory of each thread.

use cowtrace_ebpf::plan::{Plan, RubyPlan, UNUSED, walker};

use super::{Evidence, IMPORT, Layout, Lines, OuterUnit, Version};
use crate::interp::python::attributes::Attributes;
use crate::interp::python::dict::{DictLayout, SizeAt};
use crate::interp::python::opcodes;
use crate::interp::python::strings::StringState;

/// Tables of dicts since 3.11.
pub(super) const DICT_311: DictLayout = DictLayout {
    size: SizeAt::Logarithms { slots: 8, index: 9 },
    kind: 10,
    usable: 16,
    entries: 24,
    indices: 32,
};

/// CPython 3.11, all final releases.
///
/// * `_PyRuntimeState`: <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_runtime.h#L59>
/// * `PyInterpreterState`: <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_interp.h#L78>
/// * `PyThreadState`: <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/pystate.h#L82>
/// * `_PyInterpreterFrame`: <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_frame.h#L47>
/// * `PyCodeObject`: <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/code.h>
/// * `PyUnicodeObject`: <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/unicodeobject.h>
pub static PYTHON_3_11: Layout = CPYTHON_3_11;

pub(super) const CPYTHON_3_11: Layout = Layout {
    name: "cpython-3.11",
    first: Version(0x030b_00f0),
    last: Version(0x030b_ffff),
    free_threaded: false,
    own: None,
    plan: Plan {
        runtime_current: 576,
        runtime_interpreters: 40,
        interpreter_next: 0,
        interpreter_threads: 16,
        interpreter_modules: 888,
        thread_next: 8,
        thread_interpreter: 16,
        thread_ident: 152,
        thread_frame: 56,
        control_frame: 8,
        frame_size: 72,
        frame_code: 32,
        frame_previous: 48,
        frame_instruction: 56,
        frame_index_shift: UNUSED,
        frame_owner: 69,
        frame_local0: 72,
        // No shims in 3.11: a call from C marks its frame by `is_entry`.
        owner_shim: UNUSED,
        // From co_kwonlyargcount to co_linetable. Not co_flags: its word also holds the counter co_warmup.
        code_identity: 64,
        code_first_line: 72,
        code_file: 112,
        code_name: 128,
        code_lines: 136,
        code_bytecode: 184,
        code_names: 32,
        object_size: 16,
        tuple_items: 24,
        string_length: 16,
        string_state: 32,
        string_ascii: 48,
        string_wide: 72,
        bytes_length: 16,
        bytes_data: 32,
        object_type: 8,
        type_name: 24,
        dict_keys: 32,
        type_flags: 168,
        // Py_TPFLAGS_TYPE_SUBCLASS.
        type_is_meta_bit: 31,
        string_ascii_bit: 6,
        // The state that holds the lock tells.
        thread_status: UNUSED,
        thread_active_bit: 0,
        thread_chunk: 296,
        // 16 KiB: https://github.com/python/cpython/blob/v3.11.7/Objects/obmalloc.c#L902
        pool_shift: 14,
        pool_class: 36,
        pool_last: 44,
        pool_header: 48,
        // Py_TPFLAGS_HAVE_GC.
        type_has_gc_bit: 14,
        // generations[0].count: https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_gc.h#L137
        interpreter_gc_counts: 692,
        runtime_gc_counts: UNUSED,
        gc_count_stride: 24,
        frame_copy: UNUSED,
        code_copies: UNUSED,
        code_tag: 0,
        walker: walker::LINKED,
        argument_function: IMPORT,
        ruby: RubyPlan::NONE,
    },
    runtime_main: 48,
    interpreter_id: 48,
    dict: DICT_311,
    attributes: Attributes::ValuesAndDict(32, 24),
    string_state: StringState::Bits32,
    lines: Lines::Locations311,
    outer_unit: OuterUnit::LastCache { below: 25 },
    opcodes: &opcodes::PYTHON_3_11,
    evidence: &[Evidence::Live("3.11.2 (Debian, static), 3.11.7 (shared library)")],
};

/// CPython 3.12, all final releases.
///
/// * `_PyRuntimeState`: <https://github.com/python/cpython/blob/v3.12.1/Include/internal/pycore_runtime.h>
/// * `PyInterpreterState`: <https://github.com/python/cpython/blob/v3.12.1/Include/internal/pycore_interp.h>
/// * `PyThreadState`: <https://github.com/python/cpython/blob/v3.12.1/Include/cpython/pystate.h>
/// * `_PyInterpreterFrame`: <https://github.com/python/cpython/blob/v3.12.1/Include/internal/pycore_frame.h#L52>
/// * `PyCodeObject`: <https://github.com/python/cpython/blob/v3.12.1/Include/cpython/code.h>
pub static PYTHON_3_12: Layout = CPYTHON_3_12;

pub(super) const CPYTHON_3_12: Layout = Layout {
    name: "cpython-3.12",
    first: Version(0x030c_00f0),
    last: Version(0x030c_ffff),
    plan: Plan {
        runtime_current: UNUSED,
        interpreter_threads: 72,
        interpreter_modules: 944,
        thread_ident: 136,
        control_frame: 0,
        frame_code: 0,
        frame_previous: 8,
        frame_owner: 70,
        // FRAME_OWNED_BY_CSTACK: the shim of a call from C.
        owner_shim: 3,
        code_first_line: 68,
        code_bytecode: 192,
        string_ascii: 40,
        string_wide: 56,
        thread_status: 24,
        // bound_gilstate: https://github.com/python/cpython/blob/v3.12.1/Include/cpython/pystate.h#L87
        thread_active_bit: 3,
        thread_chunk: 232,
        interpreter_gc_counts: 156,
        ..CPYTHON_3_11.plan
    },
    interpreter_id: 8,
    attributes: Attributes::Either(24),
    opcodes: &opcodes::PYTHON_3_12,
    evidence: &[Evidence::Live("3.12.1 (shared library)")],
    ..CPYTHON_3_11
};
