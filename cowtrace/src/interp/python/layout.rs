//! The table of CPython layouts: the one place that knows versions. To add one is to add a row.
//!
//! Offsets are those of x86-64 Linux builds with the interpreter lock. Layouts may change in micro releases too, so a row
//! names the versions it covers in full, and discovery checks a live interpreter against it before use.

use cowtrace_ebpf::plan::{Plan, ShortName, UNUSED};

use super::dict::DictLayout;
use super::opcodes;
use super::strings::StringState;

/// `PY_VERSION_HEX`: major, minor, micro, release level (0xf = final) and serial.
/// <https://docs.python.org/3.11/c-api/apiabiversion.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, micro, level] = self.0.to_be_bytes();
        write!(f, "{major}.{minor}.{micro}")?;
        let serial = level & 15;
        match level >> 4 {
            0xa => write!(f, "a{serial}"),
            0xb => write!(f, "b{serial}"),
            0xc => write!(f, "rc{serial}"),
            _ => Ok(()),
        }
    }
}

/// Base name of the instruction at each opcode; empty = no instruction has this number.
pub type OpcodeTable = [&'static str; 256];

/// How a line table is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Entries with kinds and variable-length numbers, as 3.11 brought them.
    Locations311,
}

/// What the instruction pointer of a frame that has called another one points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterUnit {
    /// If the call was made within the interpreter loop, the last unit of the call's inline cache: the callee's least
    /// number of arguments, a small number. Else the instruction itself.
    /// <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_code.h#L75>
    LastCache {
        /// Opcodes below this are taken for that number.
        below: u8,
    },
}

/// Where a row's facts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Compared with what running builds of these versions say of themselves.
    Live(&'static str),
    /// Read from source code.
    Source(&'static str),
}

/// The layout of a range of versions.
#[derive(Debug)]
pub struct Layout {
    /// Name of the row.
    pub name: &'static str,
    /// First version that it covers.
    pub first: Version,
    /// Last version that it covers.
    pub last: Version,
    /// What the kernel side needs.
    pub plan: Plan,
    /// Runtime → main interpreter state.
    pub runtime_main: u16,
    /// Interpreter state → its id (i64), 0 for the main one.
    pub interpreter_id: u16,
    /// Tables of dicts.
    pub dict: DictLayout,
    /// State word of strings.
    pub string_state: StringState,
    /// Line tables.
    pub lines: Lines,
    /// Instruction pointers of outer frames.
    pub outer_unit: OuterUnit,
    /// Instructions.
    pub opcodes: &'static OpcodeTable,
    /// Where all this comes from.
    pub evidence: &'static [Evidence],
}

/// Every layout that is known, oldest first.
pub static LAYOUTS: &[&Layout] = &[&PYTHON_3_11];

/// The row for a version.
#[must_use]
pub fn of_version(version: Version) -> Option<&'static Layout> {
    LAYOUTS.iter().copied().find(|layout| layout.first <= version && version <= layout.last)
}

/// The versions that are known, for messages.
#[must_use]
pub fn known() -> String {
    let ranges = LAYOUTS.iter().map(|layout| layout.name.trim_start_matches("cpython-"));
    ranges.collect::<Vec<_>>().join(", ")
}

/// Runs with the name of the module that is being imported as its first argument.
const IMPORT: ShortName = ShortName::new(b"_find_and_load");

/// CPython 3.11, all final releases.
///
/// * `_PyRuntimeState`: <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_runtime.h#L59>
/// * `PyInterpreterState`: <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_interp.h#L78>
/// * `PyThreadState`: <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/pystate.h#L82>
/// * `_PyInterpreterFrame`: <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_frame.h#L47>
/// * `PyCodeObject`: <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/code.h>
/// * `PyUnicodeObject`: <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/unicodeobject.h>
pub static PYTHON_3_11: Layout = Layout {
    name: "cpython-3.11",
    first: Version(0x030b_00f0),
    last: Version(0x030b_ffff),
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
        zero: [0; 2],
        code_tag: 0,
        argument_function: IMPORT,
    },
    runtime_main: 48,
    interpreter_id: 48,
    dict: DictLayout { log2_size: 8, log2_index: 9, kind: 10, usable: 16, entries: 24, indices: 32 },
    string_state: StringState::Bits32,
    lines: Lines::Locations311,
    outer_unit: OuterUnit::LastCache { below: 25 },
    opcodes: &opcodes::PYTHON_3_11,
    evidence: &[Evidence::Live("3.11.2 (Debian, static), 3.11.7 (shared library)")],
};

#[cfg(test)]
mod tests {
    use super::*;
    use cowtrace_ebpf::plan::{FRAME_WORDS, IDENTITY_WORDS};

    #[test]
    fn rows_are_in_order_and_apart() {
        for pair in LAYOUTS.windows(2) {
            assert!(pair[0].last < pair[1].first, "{} and {}", pair[0].name, pair[1].name);
        }
        for layout in LAYOUTS {
            assert!(layout.first <= layout.last, "{}", layout.name);
            assert!(!layout.evidence.is_empty(), "{}", layout.name);
        }
    }

    #[test]
    fn offsets_keep_to_what_the_kernel_side_reads() {
        for Layout { name, plan, dict, .. } in LAYOUTS {
            for (offset, size) in [
                (plan.frame_code, 8),
                (plan.frame_previous, 8),
                (plan.frame_instruction, 8),
                (plan.frame_owner, 1),
            ] {
                assert!(offset == UNUSED || offset + size <= plan.frame_size, "{name}: {offset}");
            }
            assert!(usize::from(plan.frame_size) <= FRAME_WORDS * 8, "{name}");
            assert!(usize::from(plan.code_identity) + IDENTITY_WORDS * 8 <= usize::from(plan.code_bytecode));
            assert!(dict.indices <= 40, "{name}");
        }
    }

    #[test]
    fn versions() {
        assert_eq!(of_version(Version(0x030b_02f0)).unwrap().name, "cpython-3.11");
        assert!(of_version(Version(0x030b_00c1)).is_none(), "a release candidate");
        assert!(of_version(Version(0x030c_01f0)).is_none());
        assert_eq!(Version(0x030b_07f0).to_string(), "3.11.7");
        assert_eq!(Version(0x030f_00c2).to_string(), "3.15.0rc2");
    }
}
