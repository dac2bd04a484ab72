//! More than there is room for: a small ring, a reader that stands still, a full disk, little memory. What the kernel counts
//! stays exact, what is lost is counted by stage, CPU and process and told once, and the traced program notices nothing.

use std::fs;
use std::process::Command;
use std::time::Instant;

use cowtrace_tests::check;
use cowtrace_tests::peak::Peak;
use cowtrace_tests::process::expect_state;
use cowtrace_tests::{Finished, Run, Trace, needs, programs};
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

/// Pages that a forked process writes of its own beside those of the region, at most: stack, libc's data.
const OTHERS: u64 = 20;

/// What the program says of one child.
struct Child {
    pid: u32,
    pages: u64,
    /// Page faults of its life, counted by the kernel.
    faults: u64,
}

fn children(finished: &Finished) -> Vec<Child> {
    let text = finished.stdout_text();
    assert!(text.ends_with("done\n"), "the program ended early: {text}");
    let lines = text.lines().filter_map(|line| line.strip_prefix("child "));
    lines
        .map(|line| {
            let mut numbers = line.split(' ').map(|word| word.parse::<u64>().expect("a number"));
            let mut next = || numbers.next().expect("three numbers");
            let pid = u32::try_from(next()).expect("pids are small");
            Child { pid, pages: next(), faults: next() }
        })
        .collect()
}

fn lost_at(trace: &Trace, stage: &str) -> u64 {
    trace.losses.iter().filter(|loss| loss.stage == stage).map(|loss| loss.count).sum()
}

fn lost_of_processes(trace: &Trace) -> u64 {
    trace.processes.iter().flat_map(|process| process.totals.values()).map(|total| total.lost).sum()
}

/// Totals are what the children did and what the kernel counted for their parent; listed + lost = totals, of each process;
/// every lost fault has its stage and CPU. Returns how many were lost.
fn exact(trace: &Trace, finished: &Finished, stage: &str, expected: usize) -> u64 {
    assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
    check::totals_add_up(trace);
    let children = children(finished);
    assert_eq!(children.len(), expected);
    for child in &children {
        let process = trace.process(child.pid);
        let copies = process.totals["copy"].faults;
        assert!((child.pages..child.pages + OTHERS).contains(&copies), "{} pages: {process:?}", child.pages);
        let all: u64 = process.totals.values().map(|total| total.faults).sum();
        assert_eq!(all, child.faults, "faults that the kernel counted for the parent: {process:?}");
    }
    let lost = lost_of_processes(trace);
    assert_eq!(lost_at(trace, stage), lost, "{:?}", trace.losses);
    let cpus: Vec<u32> =
        trace.losses.iter().filter(|loss| loss.stage == stage).map(|loss| loss.cpu).collect();
    assert!(!cpus.is_empty() && cpus.is_sorted_by(|one, other| one < other), "{:?}", trace.losses);
    lost
}

/// The loss is told once, in a sentence that ends in what would have avoided it.
fn told_once(finished: &Finished, lost: u64, flag: &str) {
    let text = finished.stderr_text();
    let told: Vec<&str> = text.lines().filter(|line| line.starts_with("cowtrace: details of ")).collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(told[0].contains(&format!("details of {lost} faults")) && told[0].contains(flag), "{told:?}");
}

fn overload(arguments: [&str; 3]) -> Run {
    Run::new(programs::built("overload")).args(arguments).timeout(300)
}

/// As fast as it goes through a ring of 64 KiB.
#[test]
fn faults_through_a_small_ring() {
    if !needs::tracing() {
        return;
    }
    let begun = Instant::now();
    let traced = overload(["64", "1024", "2"]).flag("--buffer").flag("64K").reported();
    let lost = exact(&traced.trace, &traced.finished, "ring", 64);
    let copies = traced.trace.summary.copies;
    assert!(copies >= 64 * 1024, "{copies}");
    println!("{copies} copies, {lost} without details, {:?}", begun.elapsed());
    if lost > 0 {
        told_once(&traced.finished, lost, "--buffer 128K");
    }
}

/// Two hundred processes at full rate and a ring of 8 MiB.
#[test]
fn two_hundred_processes_at_full_rate() {
    if !needs::tracing() {
        return;
    }
    let traced = overload(["200", "512", "200"]).flag("--buffer").flag("8M").reported();
    let lost = exact(&traced.trace, &traced.finished, "ring", 200);
    println!("{} copies, {lost} without details", traced.trace.summary.copies);
    if lost > 0 {
        told_once(&traced.finished, lost, "--buffer 16M");
    }
}

/// A million copies, a ring of 64 KiB, and cowtrace stopped while the program does all of its work: the program ends its work all the same.
#[test]
fn a_reader_that_stands_still() {
    if !needs::tracing() {
        return;
    }
    let folder = TempDir::with_prefix("cowtrace-test-").expect("a temporary folder");
    let (path, go) = (folder.path().join("trace.jsonl"), folder.path().join("go"));
    let script = format!(
        "echo ready; until [ -e '{}' ]; do sleep 0.02; done; exec '{}' 64 16384 2",
        go.display(),
        programs::built("overload").display()
    );
    let run = Run::new("/bin/sh").arg("-c").arg(&script).flag("--buffer").flag("64K");
    let started = run.flag("-o").flag(&path).timeout(300).start();
    started.expect_output("ready");
    kill(started.pid(), Signal::SIGSTOP).expect("cowtrace is there");
    expect_state(started.pid(), "T");
    fs::write(&go, "").expect("the folder is there");
    // The program has done everything and nobody has read a record.
    started.expect_output("done");
    expect_state(started.pid(), "T");
    kill(started.pid(), Signal::SIGCONT).expect("cowtrace is there");
    let mut finished = started.finish();
    finished.stdout = finished.stdout.strip_prefix(b"ready\n").expect("its first line").to_vec();
    let trace = Trace::read(&path);
    let lost = exact(&trace, &finished, "ring", 64);
    // 64 KiB hold some hundred records.
    assert!(lost > 64 * 16384 * 9 / 10, "{lost} lost of 1,048,576");
    told_once(&finished, lost, "--buffer 128K");
}

/// Without memory for any detail: all is counted, and said.
#[test]
fn without_memory_for_details() {
    if !needs::tracing() {
        return;
    }
    let traced = overload(["8", "2048", "2"]).flag("--memory").flag("1M").reported();
    let trace = &traced.trace;
    let lost = exact(trace, &traced.finished, "memory", 8);
    assert!(lost >= 8 * 2048, "{lost}");
    // What the kernel program still held when it was detached is there: a fault for each thread.
    assert!(trace.faults.len() <= trace.processes.len(), "{} faults", trace.faults.len());
    told_once(&traced.finished, lost, "--memory 2M");
}

/// Half a million copies with room for a part of them: cowtrace has as much memory as it may, and besides that no more than
/// its own program, the ring and what it reads at its start, for which as much again is enough. It would have more than
/// that, if it might.
#[test]
fn no_more_memory_than_it_may() {
    const MOST: u64 = 64 << 20;
    if !needs::tracing() {
        return;
    }
    let folder = TempDir::with_prefix("cowtrace-test-").expect("a temporary folder");
    let path = folder.path().join("trace.csv");
    // Into a table that is written line by line: what is measured is what is kept.
    let run = overload(["32", "16384", "2"]).flag("--memory").flag("64M").flag("--buffer").flag("8M");
    let started = run.flag("-q").flag("-o").flag(&path).start();
    let memory = Peak::watch(started.pid());
    let finished = started.finish();
    let bytes = memory.bytes();
    assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
    assert_eq!(children(&finished).len(), 32);
    println!("{} MiB at most", bytes >> 20);
    assert!((1..MOST * 2).contains(&bytes), "{} MiB", bytes >> 20);
    let text = finished.stderr_text();
    assert!(text.contains("were not kept") && text.contains("--memory 128M"), "{text}");
}

/// A folder with room for 64 KiB.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Self {
        let disk = Self(TempDir::with_prefix("cowtrace-test-").expect("a temporary folder"));
        assert!(disk.mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"]));
        disk
    }

    fn mount(&self, words: &[&str]) -> bool {
        let status = Command::new(words[0]).args(&words[1..]).arg(self.0.path()).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = self.mount(&["umount"]);
        assert!(unmounted || std::thread::panicking(), "{} is still mounted", self.0.path().display());
    }
}

/// The disk is full while the trace is exported: the report is whole, the program has its end, and the file is said to lack
/// something.
#[test]
fn a_disk_that_is_full_at_the_export() {
    if !needs::tracing() {
        return;
    }
    let disk = SmallDisk::new();
    let run = overload(["4", "512", "2"]).flag("-o").flag(disk.0.path().join("trace.jsonl"));
    let finished = run.cowtrace();
    drop(disk);
    let stderr = finished.stderr_text();
    assert_eq!(finished.code(), 125, "{stderr}");
    assert_eq!(children(&finished).len(), 4);
    let told: Vec<&str> = stderr.lines().filter(|line| line.starts_with("cowtrace: ")).collect();
    assert!(told.len() == 1 && told[0].contains("No space left on device"), "{stderr}");
    assert!(stderr.contains("lost         nothing"), "the report is whole: {stderr}");
}
