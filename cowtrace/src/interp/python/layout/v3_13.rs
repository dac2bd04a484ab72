//! 3.13, the first that tells its own offsets.

use cowtrace_ebpf::plan::{Plan, UNUSED};

use super::own::OWN_3_13;
use super::v3_11::CPYTHON_3_12;
use super::{Evidence, Layout, OuterUnit, Version};
use crate::interp::python::attributes::Attributes;
use crate::interp::python::opcodes;

/// CPython 3.13, all final releases.
///
/// * `_PyRuntimeState`: <https://github.com/python/cpython/blob/v3.13.0/Include/internal/pycore_runtime.h>
/// * `PyInterpreterState`: <https://github.com/python/cpython/blob/v3.13.0/Include/internal/pycore_interp.h>
/// * `PyThreadState`: <https://github.com/python/cpython/blob/v3.13.0/Include/cpython/pystate.h#L63>
/// * `_PyInterpreterFrame`: <https://github.com/python/cpython/blob/v3.13.0/Include/internal/pycore_frame.h#L60>
/// * `PyCodeObject`: <https://github.com/python/cpython/blob/v3.13.0/Include/cpython/code.h>
pub static PYTHON_3_13: Layout = CPYTHON_3_13;

pub(super) const CPYTHON_3_13: Layout = Layout {
    name: "cpython-3.13",
    first: Version(0x030d_00f0),
    last: Version(0x030d_ffff),
    own: Some(&OWN_3_13),
    plan: Plan {
        runtime_interpreters: 632,
        interpreter_next: 7264,
        interpreter_threads: 7344,
        interpreter_modules: 7656,
        thread_ident: 152,
        thread_frame: 72,
        control_frame: UNUSED,
        code_bytecode: 200,
        thread_status: 32,
        interpreter_gc_counts: 7444,
        ..CPYTHON_3_12.plan
    },
    runtime_main: 640,
    interpreter_id: 7272,
    attributes: Attributes::InlineAndDict(24),
    outer_unit: OuterUnit::Exact,
    opcodes: &opcodes::PYTHON_3_13,
    evidence: &[Evidence::Live("3.13.0 (shared library), 3.13.18 (Debian, static)")],
    ..CPYTHON_3_12
};
