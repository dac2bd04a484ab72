//! Native stacks of programs without frame pointers, against gdb's at the same instructions: in a child that copies the pages
//! it writes for cowtrace, on protected pages for gdb. What is compared of each frame is the file and the offset in it by
//! which the frame is looked up: that of the instruction, or of the last byte of the call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cowtrace_tests::binary::{package_folder, target_folder};
use cowtrace_tests::{Run, Trace, check, needs, programs};
use serde::Deserialize;

/// Where the program's pages lie, and how many there are (`programs/unwind.c`).
const PAGES: std::ops::Range<u64> = 0x1000_0000_0000..0x1000_0000_0000 + 1024 * 4096;

/// How the program is built.
const BUILDS: [(&str, &[&str]); 7] = [
    ("pie", &["-fPIE", "-pie"]),
    ("fixed", &["-fno-pie", "-no-pie"]),
    ("static", &["-static"]),
    ("stripped", &["-s"]),
    ("fast", &["-O3", "-march=native"]),
    ("cxx", &["-x", "c++"]),
    ("cxx_static", &["-x", "c++", "-static", "-s"]),
];

/// A frame: file, and offset in it.
type Frame = (Option<String>, u64);

#[derive(Deserialize)]
struct Row {
    page: u64,
    frames: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    object: Option<String>,
    offset: u64,
}

fn build(name: &str, options: &[&str]) -> PathBuf {
    let folder = target_folder().join("test-programs");
    std::fs::create_dir_all(&folder).expect("a folder for the test programs");
    let program = folder.join(format!("unwind_{name}"));
    let compiler = if options.contains(&"c++") { "c++" } else { "cc" };
    let built = Command::new(compiler)
        .args(["-O2", "-fomit-frame-pointer", "-Wall", "-Wextra", "-Werror", "-pthread"])
        .args(options)
        .arg(package_folder().join("programs/unwind.c"))
        .arg("-o")
        .arg(&program)
        .output()
        .expect("a compiler");
    assert!(built.status.success(), "{name}: {}", String::from_utf8_lossy(&built.stderr));
    program
}

/// The stacks that gdb sees, by page.
fn by_gdb(program: &Path) -> BTreeMap<u64, Vec<Frame>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stacks = folder.path().join("stacks");
    let gdb = Command::new("gdb")
        .args(["-nx", "-batch", "-x"])
        .arg(package_folder().join("programs/unwind.py"))
        .arg("--args")
        .arg(program)
        .arg("protect")
        .env("STACKS", &stacks)
        .output()
        .expect("gdb");
    let text = std::fs::read_to_string(&stacks).expect("gdb's stacks");
    let said = String::from_utf8_lossy(&gdb.stderr);
    assert!(gdb.status.success() && !text.is_empty(), "gdb failed: {said}");
    let row = |line| {
        let Row { page, frames } = serde_json::from_str(line).expect("a line of unwind.py");
        (page, frames.into_iter().map(|Place { object, offset }| (object, offset)).collect())
    };
    text.lines().map(row).collect()
}

fn page_of(fault: &cowtrace_tests::trace::Fault) -> Option<u64> {
    (fault.outcome == "copy" && PAGES.contains(&fault.address)).then_some(fault.address & !4095)
}

/// The stacks that cowtrace sees, by page.
fn by_cowtrace(trace: &Trace) -> BTreeMap<u64, Vec<Frame>> {
    let frames = |fault: &cowtrace_tests::trace::Fault| -> Vec<Frame> {
        // An inlined function has the address of the one that it was compiled into.
        let own = fault.native.iter().filter(|frame| !frame.inlined);
        own.map(|frame| (frame.object.clone(), frame.offset)).collect()
    };
    trace.faults.iter().filter_map(|fault| Some((page_of(fault)?, frames(fault)))).collect()
}

/// At least 99 of 100 stacks of more than 1,000 are gdb's, frame by frame up to the outermost.
#[test]
fn stacks_are_those_of_gdb() {
    if !needs::tracing() {
        return;
    }
    assert!(Path::new("/usr/bin/gdb").exists(), "no gdb: `cargo xtask test` installs it");
    let (mut compared, mut equal) = (0, 0);
    for (name, options) in BUILDS {
        let program = build(name, options);
        let expected = by_gdb(&program);
        let traced = Run::new(&program).arg("fork").trace();
        check::nothing_lost(&traced.trace);
        let seen = by_cowtrace(&traced.trace);
        // The last two writes are not made on protected pages (see below).
        let written: usize = traced.finished.stdout_text().trim().parse().expect("number of written pages");
        assert_eq!((expected.len(), seen.len()), (written - 2, written), "{name}");
        let mut differ = Vec::new();
        for (page, frames) in &expected {
            if seen.get(page) != Some(frames) {
                differ.push((page, frames, seen.get(page)));
            }
        }
        let deepest = expected.values().map(Vec::len).max().unwrap_or_default();
        println!(
            "{name}: {} of {} stacks equal, up to {deepest} frames",
            expected.len() - differ.len(),
            expected.len()
        );
        for (page, gdbs, ours) in differ.iter().take(3) {
            println!("{name}: page {page:#x}: gdb {gdbs:x?}\n  cowtrace {ours:x?}");
        }
        compared += expected.len();
        equal += expected.len() - differ.len();
    }
    println!("{equal} of {compared} stacks equal");
    assert!(compared >= 1000, "only {compared} stacks were compared");
    assert!(equal * 100 >= compared * 99, "{equal} of {compared} stacks equal");
}

/// A write by the kernel has the stack of the system call, a stack that is cut says so, and a function that many call is not
/// the site.
#[test]
fn callers_in_words() {
    if !needs::tracing() {
        return;
    }
    let traced = Run::new(build("pie", BUILDS[0].1)).arg("fork").trace();
    let faults: Vec<_> = traced.trace.faults.iter().filter(|fault| page_of(fault).is_some()).collect();
    let symbols = |fault: &cowtrace_tests::trace::Fault| -> Vec<String> {
        fault.native.iter().filter(|frame| !frame.inlined).filter_map(|frame| frame.symbol.clone()).collect()
    };
    let last = faults.last().expect("faults");
    assert_eq!(last.operation.kind, "kernel", "{last:?}");
    assert_eq!(symbols(last)[1], "main", "{:?}", symbols(last));
    let cut = symbols(faults[faults.len() - 2]);
    assert_eq!(cut[0], "leaf", "{cut:?}");
    assert!(cut[1..].iter().filter(|name| *name == "with_large_frame").count() >= 4, "{cut:?}");
    assert_eq!(cut.last().map(String::as_str), Some("[the stack is larger than what is copied of it]"));
    let by_library: Vec<_> =
        faults.iter().filter(|fault| symbols(fault).iter().any(|name| name == "by_library")).collect();
    assert!(by_library.len() > 50, "{}", by_library.len());
    for fault in by_library {
        let site = fault.site.as_ref().expect("a site");
        assert_eq!(site.function.as_deref(), Some("by_library"), "{:?}", fault.native);
    }
}

/// More new stacks than are copied: the faults are there with their innermost function, say that their callers were not
/// recorded, and are counted as such and not as lost.
#[test]
fn what_is_not_copied_is_counted() {
    if !needs::tracing() {
        return;
    }
    const PAGES: usize = 30_000;
    let traced = Run::new(programs::built("deep")).trace();
    let trace = &traced.trace;
    check::nothing_lost(trace);
    let written: Vec<_> = trace
        .faults
        .iter()
        .filter(|fault| fault.native.first().and_then(|frame| frame.symbol.as_deref()) == Some("deeper"))
        .collect();
    assert!(written.len() >= PAGES, "{}", written.len());
    let last =
        |fault: &cowtrace_tests::trace::Fault| fault.native.last().and_then(|frame| frame.symbol.clone());
    let without = trace
        .faults
        .iter()
        .filter(|fault| last(fault).is_some_and(|name| name.starts_with("[callers not recorded: more new")))
        .count();
    let of_stage = trace.losses.iter().filter(|loss| loss.stage == "native_stack");
    let counted: u64 = of_stage.map(|loss| loss.count).sum();
    println!("{without} of {} faults without callers, {counted} counted", written.len());
    assert!(without > 0, "every one of {PAGES} different stacks was copied");
    // A fault that turned out to copy nothing is counted, too.
    assert!((without as u64..=without as u64 + 100).contains(&counted), "{without} {counted}");
}
