//! The programs of known behaviour under `programs/`, and the scripts under `workloads/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::binary::{package_folder, target_folder};
use crate::python::Interpreter;

/// Every ground-truth case: program and sub-command.
pub const CASES: &[(&str, &str)] = &[
    ("anonymous", "written"),
    ("anonymous", "gone"),
    ("anonymous", "read_only"),
    ("anonymous", "shared"),
    ("anonymous", "zero_page"),
    ("anonymous", "zero_page_unmapped"),
    ("anonymous", "untouched"),
    ("anonymous", "wiped"),
    ("anonymous", "grandchild"),
    ("anonymous", "skipped"),
    ("reuse", "child_gone"),
    ("reuse", "child_copied"),
    ("reuse", "parent_first"),
    ("mixed", "reuse_and_file"),
    ("mixed", "reuse_and_populate"),
    ("mixed", "reuse_and_gup"),
    ("mixed", "copy_and_drop"),
    ("mixed", "zero_and_drop"),
    ("files", "read_then_written"),
    ("files", "first_write"),
    ("files", "copied_page_table"),
    ("files", "written_before"),
    ("files", "shared"),
    ("threads", "second"),
    ("threads", "race"),
    ("threads", "race_parent"),
    ("threads", "fork_in_thread"),
    ("kernel", "pipe_read"),
    ("kernel", "zero_read"),
    ("kernel", "refused"),
    ("kernel", "gup"),
    ("pinned", "foreign"),
    ("pinned", "poke"),
    ("pinned", "memory"),
    ("pinned", "direct"),
    ("pinned", "ring"),
    ("signals", "no_access"),
    ("signals", "read_only"),
    ("spawn", "vfork"),
    ("spawn", "vfork_shared"),
    ("spawn", "posix_spawn"),
    ("huge", "huge_written"),
    ("huge", "huge_parent"),
    ("huge", "huge_reuse"),
    ("huge", "huge_fresh"),
    ("huge", "huge_zero"),
    ("kinds", "protected"),
    ("kinds", "protected_alone"),
    ("kinds", "dontfork"),
    ("kinds", "dev_zero"),
    ("kinds", "freed"),
    ("kinds", "heap"),
    ("kinds", "stack"),
    ("kinds", "guarded"),
    ("kinds", "memfd_read"),
    ("kinds", "memfd_written"),
    ("kinds", "memfd_hole"),
    ("kinds", "memfd_shared"),
    ("kinds", "system_v"),
    ("folios", "folio_fresh"),
    ("folios", "folio_written"),
    ("folios", "folio_parent"),
    ("hugetlb", "hugetlb_written"),
    ("hugetlb", "hugetlb_parent"),
    ("hugetlb", "hugetlb_reuse"),
    ("hugetlb", "hugetlb_fresh"),
    ("hugetlb", "hugetlb_shared"),
    ("merged", "merged_alone"),
    ("merged", "merged_shared"),
    ("swapped", "swap_alone"),
    ("swapped", "swap_shared"),
    ("swapped", "swap_read"),
    ("swapped", "swap_parent"),
    ("userfault", "missing"),
    ("userfault", "protected"),
    ("userfault", "protected_own"),
];

/// What the compiler is told for a program beside what it is told for all.
const OPTIONS: &[(&str, &str)] = &[("hostile", "-rdynamic")];

/// The built program of this name, compiled if its sources are newer. Images of disks may keep whole seconds only.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let sources = package_folder().join("programs");
    let folder = target_folder().join("test-programs");
    let binary = folder.join(name);
    let program = sources.join(format!("{name}.c"));
    let shared = sources.join("ground.c");
    let newest = [&program, &shared, &sources.join("ground.h"), &sources.join("child.h")]
        .map(|path| modified(path).unwrap_or_else(|| panic!("{} does not exist", path.display())));
    if modified(&binary).is_some_and(|built| newest.iter().all(|source| *source <= built)) {
        return binary;
    }
    std::fs::create_dir_all(&folder).expect("a folder for the test programs");
    // Another test binary may be doing the same: build aside, then move.
    let aside = folder.join(format!("{name}.{}", std::process::id()));
    // What a program exports can be found in it as in a stripped one: `-rdynamic`.
    let output = Command::new("cc")
        .args(["-rdynamic", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
        .arg(&aside)
        .args([&program, &shared])
        .args(OPTIONS.iter().filter(|(program, _)| *program == name).map(|(_, option)| option))
        .output()
        .expect("the C compiler `cc` can be run");
    assert!(output.status.success(), "{name}.c: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&aside, &binary).expect("the folder is ours");
    binary
}

/// `programs/embed.c`, linked with an interpreter's shared library, and the interpreter's prefix; `None` = it has no such
/// library beside it, or no headers.
#[must_use]
pub fn embedding(interpreter: &Interpreter) -> Option<(PathBuf, PathBuf)> {
    let prefix = interpreter.path.parent()?.parent()?.to_owned();
    let name = format!("python3.{}", interpreter.minor.1);
    let (include, library) = (prefix.join("include").join(&name), prefix.join("lib"));
    let is_there = include.join("Python.h").exists() && library.join(format!("lib{name}.so")).exists();
    if interpreter.root.is_some() || !is_there {
        return None;
    }
    let folder = target_folder().join("test-programs");
    std::fs::create_dir_all(&folder).expect("a folder for the test programs");
    let binary = folder.join(format!("embed-{name}"));
    let output = Command::new("cc")
        .arg(package_folder().join("programs/embed.c"))
        .arg("-I")
        .arg(include)
        .arg("-L")
        .arg(&library)
        .arg(format!("-Wl,-rpath,{}", library.display()))
        .arg(format!("-l{name}"))
        .arg("-o")
        .arg(&binary)
        .output()
        .expect("the C compiler `cc` can be run");
    assert!(output.status.success(), "embed.c: {}", String::from_utf8_lossy(&output.stderr));
    Some((binary, prefix))
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// A script under `workloads/`.
#[must_use]
pub fn workload(path: &str) -> PathBuf {
    let path = package_folder().join("workloads").join(path);
    assert!(path.exists(), "{} does not exist", path.display());
    path
}

/// The line of a script that ends in this text, and none other may.
#[must_use]
pub fn line_ending(script: &Path, text: &str) -> u32 {
    let content = std::fs::read_to_string(script).expect("the script is readable");
    let lines: Vec<usize> =
        content.lines().enumerate().filter(|(_, line)| line.ends_with(text)).map(|(at, _)| at + 1).collect();
    assert_eq!(lines.len(), 1, "{} has lines {lines:?} that end in {text:?}", script.display());
    u32::try_from(lines[0]).expect("scripts are short")
}
