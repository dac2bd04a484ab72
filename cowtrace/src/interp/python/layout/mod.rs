//! The table of CPython layouts: the one place that knows versions. To add one is to add a row.
//!
//! Offsets are those of x86-64 Linux builds. Layouts may change in micro releases too, so a row names the versions it covers
//! in full, and discovery checks a live interpreter against it before use. From 3.13 on the interpreter tells most of its
//! offsets itself ([`OwnOffsets`]); then the row has only the rest.

mod own;
mod v3_10;
mod v3_11;
mod v3_13;
mod v3_14;
mod without_lock;

use cowtrace_ebpf::plan::{Plan, ShortName};

use super::attributes::Attributes;
use super::dict::DictLayout;
use super::strings::StringState;

pub use self::own::{COOKIE, OwnOffsets, Told, Unusable, told};
pub use self::{
    v3_10::{PYTHON_3_8, PYTHON_3_9, PYTHON_3_10},
    v3_11::{PYTHON_3_11, PYTHON_3_12},
    v3_13::PYTHON_3_13,
    v3_14::{PYTHON_3_14, PYTHON_3_14_5, PYTHON_3_15},
    without_lock::{PYTHON_3_13T, PYTHON_3_14T, PYTHON_3_15T},
};

/// `PY_VERSION_HEX`: major, minor, micro, release level (0xf = final) and serial.
/// <https://docs.python.org/3.11/c-api/apiabiversion.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32);

impl Version {
    /// Whether it is one of Python 3.
    #[must_use]
    pub const fn is_3(self) -> bool {
        self.0 >> 24 == 3
    }
}

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
    /// `co_lnotab`: pairs of steps in bytes and lines, until 3.9.
    Lnotab,
    /// `co_linetable` of 3.10: pairs of lengths and steps in lines.
    Linetable310,
    /// Entries with kinds and variable-length numbers, as 3.11 brought them.
    Locations311,
}

/// What the instruction pointer of a frame that has called another one points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterUnit {
    /// The call itself.
    Exact,
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
#[derive(Clone, Debug)]
pub struct Layout {
    /// Name of the row.
    pub name: &'static str,
    /// First version that it covers.
    pub first: Version,
    /// Last version that it covers.
    pub last: Version,
    /// Built without the interpreter lock.
    pub free_threaded: bool,
    /// Where the interpreter tells its own offsets; `None` = it does not.
    pub own: Option<&'static OwnOffsets>,
    /// What the kernel side needs.
    pub plan: Plan,
    /// Runtime → main interpreter state.
    pub runtime_main: u16,
    /// Interpreter state → its id (i64), 0 for the main one.
    pub interpreter_id: u16,
    /// Tables of dicts.
    pub dict: DictLayout,
    /// Where instances keep their attributes.
    pub attributes: Attributes,
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
pub static LAYOUTS: &[&Layout] = &[
    &PYTHON_3_8,
    &PYTHON_3_9,
    &PYTHON_3_10,
    &PYTHON_3_11,
    &PYTHON_3_12,
    &PYTHON_3_13,
    &PYTHON_3_13T,
    &PYTHON_3_14,
    &PYTHON_3_14_5,
    &PYTHON_3_14T,
    &PYTHON_3_15,
    &PYTHON_3_15T,
];

/// The row for a version, and a kind of build.
#[must_use]
pub fn of_version(version: Version, free_threaded: bool) -> Option<&'static Layout> {
    let covers = |layout: &&Layout| {
        layout.first <= version && version <= layout.last && layout.free_threaded == free_threaded
    };
    LAYOUTS.iter().copied().find(covers)
}

/// The versions that are known, for messages.
#[must_use]
pub fn known() -> String {
    let ranges = LAYOUTS.iter().map(|layout| layout.name.trim_start_matches("cpython-"));
    ranges.collect::<Vec<_>>().join(", ")
}

/// Runs with the name of the module that is being imported as its first argument.
pub(super) const IMPORT: ShortName = ShortName::new(b"_find_and_load");

#[cfg(test)]
mod tests {
    use super::*;
    use cowtrace_ebpf::plan::{FRAME_WORDS, IDENTITY_WORDS, STATE_WORDS, UNUSED};

    #[test]
    fn rows_are_in_order_and_apart() {
        for free_threaded in [false, true] {
            let rows: Vec<_> = LAYOUTS.iter().filter(|row| row.free_threaded == free_threaded).collect();
            for pair in rows.windows(2) {
                assert!(pair[0].last < pair[1].first, "{} and {}", pair[0].name, pair[1].name);
            }
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
                (plan.frame_copy, 4),
            ] {
                assert!(offset == UNUSED || offset + size <= plan.frame_size, "{name}: {offset}");
            }
            assert!(usize::from(plan.frame_size) <= FRAME_WORDS * 8, "{name}");
            for offset in [plan.thread_frame, plan.thread_ident] {
                assert!(u32::from(offset) + 8 <= plan.state_size() && offset % 8 == 0, "{name}: {offset}");
            }
            assert!(plan.state_size() as usize <= STATE_WORDS * 8, "{name}");
            let inline = plan.frame_index_shift == UNUSED;
            let identity = usize::from(plan.code_identity) + IDENTITY_WORDS * 8;
            assert!(!inline || identity <= usize::from(plan.code_bytecode), "{name}");
            assert!(plan.code_identity.is_multiple_of(8), "{name}");
            assert_eq!(plan.frame_copy == UNUSED, plan.code_copies == UNUSED, "{name}");
            assert!(dict.indices <= 40, "{name}");
        }
    }

    #[test]
    fn versions() {
        assert_eq!(of_version(Version(0x030b_02f0), false).unwrap().name, "cpython-3.11");
        assert!(of_version(Version(0x030b_00c1), false).is_none(), "a release candidate");
        assert!(of_version(Version(0x030b_02f0), true).is_none(), "there is no such build");
        assert_eq!(of_version(Version(0x030e_0af0), false).unwrap().name, "cpython-3.14.5");
        assert_eq!(of_version(Version(0x030e_0af0), true).unwrap().name, "cpython-3.14t");
        assert!(of_version(Version(0x0310_00f0), false).is_none());
        assert_eq!(Version(0x030b_07f0).to_string(), "3.11.7");
        assert_eq!(Version(0x030f_00c2).to_string(), "3.15.0rc2");
    }
}
