//! 3.14 and 3.15: pointers with tags in frames.

use cowtrace_ebpf::plan::{Plan, UNUSED};

use super::own::{OWN_3_14, OWN_3_15};
use super::v3_13::CPYTHON_3_13;
use super::{Evidence, Layout, Version};
use crate::interp::python::opcodes;

/// CPython 3.14.0 to 3.14.4, whose collector works in increments: it has no counts of generations that tell which is
/// collected.
///
/// * `_PyInterpreterFrame`: <https://github.com/python/cpython/blob/v3.14.0/Include/internal/pycore_interpframe_structs.h>
/// * tags: <https://github.com/python/cpython/blob/v3.14.0/Include/internal/pycore_stackref.h>
/// * tuples with a hash: <https://github.com/python/cpython/blob/v3.14.0/Include/cpython/tupleobject.h#L8>
pub static PYTHON_3_14: Layout = CPYTHON_3_14;

pub(super) const CPYTHON_3_14: Layout = Layout {
    name: "cpython-3.14",
    first: Version(0x030e_00f0),
    last: Version(0x030e_04ff),
    own: Some(&OWN_3_14),
    plan: Plan {
        runtime_interpreters: 808,
        interpreter_next: 7272,
        interpreter_modules: 7664,
        frame_owner: 74,
        frame_size: 80,
        frame_local0: 80,
        code_bytecode: 208,
        tuple_items: 32,
        interpreter_gc_counts: UNUSED,
        code_tag: 7,
        ..CPYTHON_3_13.plan
    },
    runtime_main: 816,
    interpreter_id: 7280,
    opcodes: &opcodes::PYTHON_3_14,
    evidence: &[Evidence::Source("https://github.com/python/cpython/tree/v3.14.0/Include/internal")],
    ..CPYTHON_3_13
};

/// CPython 3.14.5 and later, whose collector has generations again.
pub static PYTHON_3_14_5: Layout = CPYTHON_3_14_5;

const CPYTHON_3_14_5: Layout = Layout {
    name: "cpython-3.14.5",
    first: Version(0x030e_0500),
    last: Version(0x030e_ffff),
    plan: Plan { interpreter_modules: 7688, interpreter_gc_counts: 7452, ..CPYTHON_3_14.plan },
    evidence: &[Evidence::Live("3.14.10 (Debian, static)")],
    ..CPYTHON_3_14
};

/// CPython 3.15, all final releases.
pub static PYTHON_3_15: Layout = CPYTHON_3_15;

pub(super) const CPYTHON_3_15: Layout = Layout {
    name: "cpython-3.15",
    first: Version(0x030f_00f0),
    last: Version(0x030f_ffff),
    own: Some(&OWN_3_15),
    plan: Plan {
        runtime_interpreters: 936,
        interpreter_next: 7264,
        interpreter_threads: 7336,
        interpreter_modules: 7592,
        thread_ident: 176,
        thread_chunk: 256,
        interpreter_gc_counts: 7428,
        ..CPYTHON_3_14.plan
    },
    runtime_main: 944,
    interpreter_id: 7272,
    opcodes: &opcodes::PYTHON_3_15,
    evidence: &[Evidence::Live("3.15.2 (Debian, static)")],
    ..CPYTHON_3_14
};
