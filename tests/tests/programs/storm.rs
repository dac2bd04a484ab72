//! More processes and threads than one has room for: all that is not told is counted, and cowtrace's own memory stays within
//! bounds.

use std::time::Instant;

use cowtrace_tests::peak::Peak;
use cowtrace_tests::server::{Ended, Server};
use cowtrace_tests::{Run, check, needs, programs};
use serde::Deserialize;

use crate::root;

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Memory that cowtrace may have at most: twice its ring's 64 MiB, which it maps twice, and 16 KiB for each of 20,000 processes.
const MOST_MEMORY: u64 = (128 << 20) + 20_000 * (16 << 10);
/// Threads that the kernel program has room for.
const THREADS: u64 = 16_384;

/// What the program says about itself.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Told {
    Done { forked: u64, wrote: u64 },
    Unavailable { unavailable: String },
}

/// A traced case, and the pages that are told to be written by the loop that each child or thread runs once.
struct Storm {
    ended: Ended,
    written: u64,
}

/// Runs one case; each child or thread wrote its page. `None` = the system has no room for it.
fn storm(case: &str, count: u64) -> Option<Storm> {
    let begun = Instant::now();
    let run = Run::new(programs::built("storm")).arg(case).arg(count.to_string()).timeout(240);
    let server = Server::start(run);
    let peak = Peak::watch(server.tracer());
    let ended = server.finish();
    let memory = peak.bytes();
    let told: Told = serde_json::from_slice(&ended.finished.stdout).expect("the program prints one line");
    match told {
        Told::Done { forked, wrote } => assert_eq!((ended.finished.code(), forked, wrote), (0, count, count)),
        Told::Unavailable { unavailable } => {
            needs::skipped(&unavailable);
            return None;
        }
    }
    let trace = &ended.trace;
    let root = root(trace).pid;
    let by_loop = trace.faults.iter().filter(|fault| {
        let symbol = fault.native.first().and_then(|frame| frame.symbol.as_deref());
        fault.pid != root && fault.outcome == "copy" && symbol == Some("store_loop")
    });
    let written = by_loop.map(|fault| fault.bytes / PAGE).sum();
    println!(
        "{case} {count}: {} processes, {written} pages told to be the loop's, {} lost in all; \
         cowtrace had {} MiB at most; {:.1?}",
        trace.processes.len(),
        trace.summary.lost,
        memory >> 20,
        begun.elapsed(),
    );
    assert!(memory > 0 && memory <= MOST_MEMORY, "{memory} bytes");
    check::totals_add_up(trace);
    // Callers that are missing lose no fault, and are counted apart.
    let lost = trace.losses.iter().filter(|loss| loss.stage != "native_stack").map(|loss| loss.count);
    assert_eq!(trace.summary.lost, lost.sum::<u64>());
    Some(Storm { ended, written })
}

/// Children that end as soon as they are there: none is missed, and each has its copies counted, although many are gone before
/// anybody can look at their mappings.
#[test]
fn forks_as_fast_as_it_can() {
    if !needs::tracing() {
        return;
    }
    let count = 20_000;
    let Some(Storm { ended, written }) = storm("fast", count) else { return };
    check::nothing_lost(&ended.trace);
    let root = root(&ended.trace).pid;
    let children = ended.trace.processes.iter().filter(|process| process.ppid == root);
    let whole = children.filter(|process| process.exit_status == Some(0) && process.copied_bytes >= PAGE);
    assert_eq!(whole.count() as u64, count);
    assert_eq!(written, count, "pages told to be the loop's");
}

/// Five thousand at once: every one is followed, and its one page is told by its function.
#[test]
fn crowd_of_five_thousand() {
    if !needs::tracing() {
        return;
    }
    let Some(Storm { ended, written }) = storm("crowd", 5_000) else { return };
    check::nothing_lost(&ended.trace);
    assert_eq!(ended.trace.processes.len(), 5_001);
    assert_eq!(written, 5_000, "pages told to be the loop's");
}

/// More threads at once than the kernel program has room for: those that found none are counted, each once, and every other
/// one's page is told.
#[test]
fn more_threads_than_there_is_room_for() {
    if !needs::tracing() {
        return;
    }
    let count = THREADS + 600;
    let Some(Storm { ended, written }) = storm("threads", count) else { return };
    let of_stage = |stage: &str| -> u64 {
        ended.trace.losses.iter().filter(|loss| loss.stage == stage).map(|loss| loss.count).sum()
    };
    let unfollowed = of_stage("thread_table");
    assert_eq!(written + unfollowed, count, "{:#?}", ended.trace.losses);
    // Beside them, the two processes' first threads have their places.
    assert!(unfollowed >= count + 2 - THREADS, "{unfollowed} not followed");
    assert_eq!(ended.trace.summary.lost, unfollowed, "{:#?}", ended.trace.losses);
    assert!(ended.report.contains("thread"), "{}", ended.report);
}
