//! Programs that run already: from the moment of attaching their faults are counted exactly, whoever takes them; they are
//! not stopped, and nothing stays when cowtrace goes.

use std::process::Command;
use std::time::{Duration, Instant};

use cowtrace_tests::attach::{Attached, Stepped};
use cowtrace_tests::check::{self, Listing};
use cowtrace_tests::facts::{Fact, parse};
use cowtrace_tests::loaded::{Kind, held_by, loaded};
use cowtrace_tests::process::{descendants, expect_state};
use cowtrace_tests::{Trace, needs, programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Children of the pool, each with a child.
const CHILDREN: usize = 3;
const PAGE: u64 = 4096;

fn program(arguments: &[&str]) -> Stepped {
    let mut stepped = Stepped::start(Command::new(programs::built("attached")).args(arguments));
    stepped.until("ready");
    stepped
}

fn pid(of: &Stepped) -> String {
    of.pid().to_string()
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("pids are small"))
}

/// Who was there is named as such, with its parent; who was forked later is not.
fn tree_is_whole(trace: &Trace, root: u32, facts: &[Fact]) {
    assert_eq!(trace.header.attached, [root]);
    assert!(trace.header.command[0].ends_with("attached"), "{:?}", trace.header.command);
    for fact in facts {
        let process = trace.process(fact.pid);
        assert_eq!(process.attached, fact.region != "attached_late", "{process:?}");
        assert_eq!(process.generation > 0, trace.processes.iter().any(|p| p.pid == process.ppid));
        assert!(process.comm == "attached", "{process:?}");
    }
}

/// Every write after the attach is counted and listed, by process and thread: those of processes and threads that were
/// there, and of one that is forked later.
#[test]
fn a_pool_that_runs_is_counted_exactly() {
    if !needs::tracing() {
        return;
    }
    let mut pool = program(&["pool", &CHILDREN.to_string()]);
    let shared: Vec<(u32, u64)> = descendants(raw(pool.pid()))
        .iter()
        .map(|pid| (pid.as_raw().unsigned_abs(), shared_bytes(*pid)))
        .collect();
    assert_eq!(shared.len(), 2 * CHILDREN);
    let attached = Attached::start(&["-p", &pid(&pool)]);
    pool.next();
    let facts = parse(&pool.until("written"));
    let traced = attached.interrupt();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    check::facts(&traced.trace, &facts, Listing::Default);
    tree_is_whole(&traced.trace, pool.pid(), &facts);
    assert_eq!(traced.trace.processes.len(), 2 * CHILDREN + 2);
    for (pid, shared) in shared {
        let process = traced.trace.process(pid);
        let is_near = process.inherited_bytes.abs_diff(shared) <= 4 * PAGE;
        assert!(is_near && shared > 40 * PAGE, "{shared} bytes were shared: {process:?}");
        assert!(process.private_bytes.is_some_and(|own| own > 0), "{process:?}");
    }
    let text = traced.finished.stderr_words();
    assert!(text.contains("to 7 processes that ran already"), "{text}");
    pool.next();
    pool.end();
}

/// Anonymous bytes of a process that another one has too, by the kernel's map of its pages.
fn shared_bytes(pid: Pid) -> u64 {
    use std::io::{Read, Seek, SeekFrom};
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let mut pages = std::fs::File::open(format!("/proc/{pid}/pagemap")).expect("it runs");
    let mut shared = 0;
    for line in maps.lines().filter(|line| line.contains("p 0") && !line.contains("[v")) {
        let (range, _) = line.split_once(' ').expect("a line of maps");
        let (start, end) = range.split_once('-').expect("a range");
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).expect("an address"));
        let mut entries =
            vec![0; usize::try_from((end - start) / PAGE * 8).expect("a mapping of some pages")];
        pages.seek(SeekFrom::Start(start / PAGE * 8)).expect("a page of it");
        pages.read_exact(&mut entries).expect("its pages");
        for entry in
            entries.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
        {
            // Present, not of a file, not mapped by this process alone.
            let is_shared = entry >> 63 == 1 && entry >> 61 & 1 == 0 && entry >> 56 & 1 == 0;
            shared += if is_shared { PAGE } else { 0 };
        }
    }
    shared
}

/// A process that was there runs another program, which forks: the program's own fork is counted as any other.
#[test]
fn a_process_that_runs_executes_another_program() {
    if !needs::tracing() {
        return;
    }
    let mut program = program(&["exec"]);
    let attached = Attached::start(&["-p", &pid(&program)]);
    program.next();
    let facts = parse(&program.until("written"));
    let traced = attached.interrupt();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    check::facts(&traced.trace, &facts, Listing::Default);
    let became = traced.trace.processes.iter().find(|process| process.generation == 1).expect("a child");
    assert!(became.attached && became.execs.len() == 1 && became.execs[0] > 0, "{became:?}");
    assert_eq!(became.command.last().map(String::as_str), Some("become"));
    program.next();
    program.end();
}

/// Children are forked as fast as it goes while cowtrace attaches: each that was forked under its eyes is there once, with
/// exactly its copies, and nobody is counted twice.
#[test]
fn a_storm_of_forks_while_attaching() {
    if !needs::tracing() {
        return;
    }
    let mut storm = Stepped::start(Command::new(programs::built("attached")).arg("storm"));
    let region = parse(&storm.until("ready")).remove(0);
    let attached = Attached::start(&["-p", &pid(&storm)]);
    std::thread::sleep(Duration::from_millis(500));
    storm.next();
    let told = storm.until("children");
    let traced = attached.interrupt();
    let trace = &traced.trace;
    check::nothing_lost(trace);
    check::totals_add_up(trace);
    let forked: Vec<_> = trace.processes.iter().filter(|process| process.generation == 1).collect();
    let children: usize =
        told.split('"').nth(3).and_then(|note| note.split(' ').next()?.parse().ok()).expect("a count");
    assert!(forked.len() > 50 && forked.len() <= children, "{} of {children}", forked.len());
    let (there, seen): (Vec<_>, Vec<_>) = forked.into_iter().partition(|process| process.attached);
    assert!(there.len() <= 1, "one child at a time: {there:#?}");
    for process in seen {
        let copies = trace
            .faults_of(process.pid)
            .filter(|fault| fault.outcome == "copy" && (region.start..region.end).contains(&fault.address));
        assert_eq!(copies.count(), 2, "{process:?}");
        assert_eq!(process.exit_status, Some(0), "{process:?}");
    }
    storm.next();
    storm.end();
}

/// Thousands of processes that run already: all are followed, each copy of each is counted.
#[test]
fn thousands_of_processes() {
    const PROCESSES: usize = 5000;
    if !needs::tracing() {
        return;
    }
    let mut many =
        Stepped::start(Command::new(programs::built("attached")).args(["many", &PROCESSES.to_string()]));
    let region = parse(&many.until("ready")).remove(0);
    let begun = Instant::now();
    let attached = Attached::start(&["-q", "-p", &pid(&many)]);
    let took = begun.elapsed();
    many.next();
    many.until("written");
    let memory = memory_peak(attached.started.pid());
    let traced = attached.interrupt();
    println!("attached to {PROCESSES} processes in {took:?}, at most {} MiB", memory >> 20);
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    assert_eq!(traced.trace.processes.len(), PROCESSES + 1);
    for process in traced.trace.processes.iter().filter(|process| process.generation == 1) {
        let there = traced
            .trace
            .faults_of(process.pid)
            .filter(|fault| fault.outcome == "copy" && (region.start..region.end).contains(&fault.address));
        assert_eq!(there.count(), 2, "{process:?}");
    }
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(memory < 512 << 20, "{memory} bytes");
}

/// The most memory that a process has had, in bytes.
fn memory_peak(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// The trace ends by Ctrl-C, by SIGTERM, by its time, or when everybody has ended, with its report and 0; the program
/// goes on as if nothing had been.
#[test]
fn every_end() {
    if !needs::tracing() {
        return;
    }
    let mut pool = program(&["pool", "1"]);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let traced = Attached::start(&["-p", &pid(&pool)]).signal(signal);
        assert_eq!(traced.trace.processes.len(), 3);
        assert!(traced.finished.stderr_text().contains("still shared"), "{}", traced.finished.stderr_text());
    }
    let begun = Instant::now();
    let traced = Attached::start(&["-q", "-d", "0.3", "-p", &pid(&pool)]).finish();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(traced.trace.processes.iter().all(|process| process.end.is_none()));
    let attached = Attached::start(&["-p", &pid(&pool)]);
    kill(raw(pool.pid()), Signal::SIGSTOP).expect("it runs");
    expect_state(raw(pool.pid()), "T");
    kill(raw(pool.pid()), Signal::SIGCONT).expect("it is stopped");
    pool.next();
    pool.until("written");
    pool.next();
    pool.end();
    let traced = attached.finish();
    check::totals_add_up(&traced.trace);
    assert!(
        traced.trace.processes.iter().all(|process| process.end.is_some()),
        "{:#?}",
        traced.trace.processes
    );
    assert_eq!(traced.trace.process(pool.pid()).exit_status, Some(0));
}

/// When cowtrace has ended, also when it was killed, none of its programs, maps and links is left, nor a process.
#[test]
fn nothing_is_left_behind() {
    if !needs::tracing() {
        return;
    }
    let pool = program(&["pool", "1"]);
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let attached = Attached::start(&["-p", &pid(&pool)]);
        let held = held_by(attached.started.pid());
        for kind in [Kind::Program, Kind::Map, Kind::Link] {
            assert!(held.iter().any(|(of, _)| *of == kind), "{held:?}");
        }
        assert!(held.is_subset(&loaded()), "what it holds is in the kernel");
        attached.started.signal_group(signal);
        let finished = attached.started.finish();
        assert_eq!(finished.code(), if signal == Signal::SIGKILL { 137 } else { 0 });
        // The kernel frees them a moment after they are let go.
        let until = Instant::now() + Duration::from_secs(10);
        while !held.is_disjoint(&loaded()) {
            assert!(Instant::now() < until, "left: {:?}", held.intersection(&loaded()));
            std::thread::sleep(Duration::from_millis(20));
        }
        // It goes on waiting.
        expect_state(raw(pool.pid()), "S");
        assert!(descendants(Pid::this()).len() <= 4, "the pool's alone: {:?}", descendants(Pid::this()));
    }
}
