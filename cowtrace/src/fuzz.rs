//! Fuzzing: everything that is made of bytes from elsewhere, with what must be true of it whatever the bytes are.
//!
//! Each row of [`TARGETS`] is a program of `tests/fuzz`, which libFuzzer gives inputs of its own making. The tests here give
//! the same functions the inputs that are kept in the tree: `tests/fuzz/corpus`, with a little of everything, and
//! `tests/fuzz/regressions`, which once broke something. The functions themselves lie beside what they try, in modules
//! named `fuzz`; they are compiled for tests and fuzzing alone.

use crate::{attribute, event, interp, kernel, process, record, symbolize, unwind};

/// Something that is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of its program and of its folders of inputs.
    pub name: &'static str,
    /// Takes any bytes; panics if an answer is wrong.
    pub check: fn(&[u8]),
}

/// Makes the rows of [`TARGETS`], and a function of each for its program: a program that went through the table would hold
/// the code of all targets, and libFuzzer looks at its counters, each of them, after every input.
macro_rules! targets {
    ($($(#[$what:meta])+ $name:ident: $check:path;)+) => {
        /// Everything that is fuzzed.
        pub static TARGETS: &[Target] = &[$(Target { name: stringify!($name), check: $name }),+];
        $(
            $(#[$what])+
            ///
            /// # Panics
            /// If the answer is wrong.
            pub fn $name(bytes: &[u8]) {
                $check(bytes);
            }
        )+
    };
}

targets! {
    /// A record of the ring buffer.
    records: event::fuzz::records;
    /// A recording's blocks, their checksums right; or a whole file, as it is.
    recording: record::file::fuzz::recording;
    /// The faults of one block.
    columns: record::file::fuzz::columns;
    /// CPython's line tables, of all versions.
    lines: interp::python::fuzz::lines;
    /// Ruby's instruction sequences.
    sequences: interp::ruby::fuzz::sequences;
    /// Objects in an interpreter's memory.
    objects: interp::fuzz::objects;
    /// A line of captured evidence.
    evidence: attribute::capture::fuzz::evidence;
    /// A program or library: its tables, symbols and debug information.
    elf: symbolize::native::fuzz::elf;
    /// Entries of debug information and their forms.
    dwarf: symbolize::native::fuzz::dwarf;
    /// Unwind tables, and a stack.
    unwind: unwind::fuzz::unwind;
    /// The list of code that a program compiled.
    perf_map: symbolize::native::fuzz::perf_map;
    /// The text of /proc/PID/maps, /proc/PID/cgroup and /proc/self/mountinfo.
    maps: process::fuzz::maps;
    /// The bytes of an instruction.
    instruction: symbolize::instruction::fuzz::instruction;
    /// The kernel's types.
    btf: kernel::btf::fuzz::btf;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn folder(kind: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz").join(kind)
    }

    fn names(kind: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(folder(kind)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(folder(kind).join(target)) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Each target has its program and its inputs, and nothing else has.
    #[test]
    fn targets_have_programs_and_inputs() {
        let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
        let programs = targets.iter().map(|name| format!("{name}.rs")).collect::<BTreeSet<_>>();
        assert_eq!(names("targets"), programs);
        assert_eq!(names("corpus"), targets);
        assert!(names("regressions").is_subset(&targets));
        let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
        for name in &targets {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }

    /// What is kept in the tree passes, whatever it once did.
    #[test]
    fn kept_inputs() {
        for Target { name, check } in TARGETS {
            let kept = inputs("corpus", name);
            assert!(!kept.is_empty(), "{name} has no inputs");
            for path in kept.into_iter().chain(inputs("regressions", name)) {
                println!("{}", path.display());
                check(&fs::read(path).unwrap());
            }
        }
    }
}
