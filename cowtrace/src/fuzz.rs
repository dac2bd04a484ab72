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

/// Everything that is fuzzed.
pub static TARGETS: &[Target] = &[
    // A record of the ring buffer.
    Target { name: "records", check: event::fuzz::records },
    // A recording's blocks, their checksums right; or a whole file, as it is.
    Target { name: "recording", check: record::file::fuzz::recording },
    // The faults of one block.
    Target { name: "columns", check: record::file::fuzz::columns },
    // CPython's line tables, of all versions.
    Target { name: "lines", check: interp::python::fuzz::lines },
    // Ruby's instruction sequences.
    Target { name: "sequences", check: interp::ruby::fuzz::sequences },
    // Objects in an interpreter's memory.
    Target { name: "objects", check: interp::fuzz::objects },
    // A line of captured evidence.
    Target { name: "evidence", check: attribute::capture::fuzz::evidence },
    // A program or library: its tables, symbols and debug information.
    Target { name: "elf", check: symbolize::native::fuzz::elf },
    // Entries of debug information and their forms.
    Target { name: "dwarf", check: symbolize::native::fuzz::dwarf },
    // Unwind tables, and a stack.
    Target { name: "unwind", check: unwind::fuzz::unwind },
    // The list of code that a program compiled.
    Target { name: "perf_map", check: symbolize::native::fuzz::perf_map },
    // The text of /proc/PID/maps, /proc/PID/cgroup and /proc/self/mountinfo.
    Target { name: "maps", check: process::fuzz::maps },
    // The bytes of an instruction.
    Target { name: "instruction", check: symbolize::instruction::fuzz::instruction },
    // The kernel's types.
    Target { name: "btf", check: kernel::btf::fuzz::btf },
];

/// Gives some bytes to a target.
///
/// # Panics
/// If the answer is wrong, or there is no such target.
pub fn check(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("no such target");
    (target.check)(bytes);
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
