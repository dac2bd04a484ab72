//! More processes than one has room for: all that is not told is counted, and cowtrace's own memory stays within bounds.

use std::time::Instant;

use cowtrace_tests::peak::Peak;
use cowtrace_tests::server::{Ended, Server};
use cowtrace_tests::{Run, check, needs, programs};
use serde::Deserialize;

use crate::root;

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Memory that cowtrace may have at most: some kilobytes for each process that there was.
const MOST_MEMORY: u64 = 512 << 20;

/// What the program says about itself.
#[derive(Debug, Deserialize)]
struct Told {
    forked: u64,
    wrote: u64,
}

struct Storm {
    ended: Ended,
    /// Children that are listed.
    listed: u64,
    /// Children that were not followed: the kernel's tables had no room for them.
    unfollowed: u64,
}

/// Runs one case; every child wrote, and is listed or counted as lost.
fn storm(case: &str, count: u64) -> Storm {
    let begun = Instant::now();
    let run = Run::new(programs::built("storm")).arg(case).arg(count.to_string()).timeout(240);
    let server = Server::start(run);
    let peak = Peak::watch(server.tracer());
    let ended = server.finish();
    let memory = peak.bytes();
    let told: Told = serde_json::from_slice(&ended.finished.stdout).expect("the program prints one line");
    assert_eq!((ended.finished.code(), told.forked, told.wrote), (0, count, count), "{told:?}");
    let root = root(&ended.trace);
    let listed = ended.trace.processes.iter().filter(|process| process.ppid == root.pid).count() as u64;
    let lost = |stages: &[&str]| -> u64 {
        let stages = ended.trace.losses.iter().filter(|loss| stages.contains(&loss.stage.as_str()));
        stages.map(|loss| loss.count).sum()
    };
    let unfollowed = lost(&["process_table", "thread_table"]);
    println!(
        "{case}: {count} forked, {listed} listed, {unfollowed} not followed, {} lost in all; cowtrace had {} MiB at most; {:.1?}",
        ended.trace.summary.lost,
        memory >> 20,
        begun.elapsed(),
    );
    assert!(memory > 0 && memory <= MOST_MEMORY, "{memory} bytes");
    check::totals_add_up(&ended.trace);
    assert_eq!(listed + unfollowed, count, "{:#?}", ended.trace.losses);
    assert_eq!(ended.trace.summary.lost, ended.trace.losses.iter().map(|loss| loss.count).sum::<u64>());
    Storm { ended, listed, unfollowed }
}

/// Copies by the loop that each child runs once.
fn written(storm: &Storm) -> u64 {
    let root = root(&storm.ended.trace).pid;
    let by_loop = storm.ended.trace.faults.iter().filter(|fault| {
        let symbol = fault.native.first().and_then(|frame| frame.symbol.as_deref());
        fault.pid != root && fault.outcome == "copy" && symbol == Some("store_loop")
    });
    by_loop.map(|fault| fault.bytes / PAGE).sum()
}

/// Children that end as soon as they are there, more than the kernel's table of processes takes: those that found no place in
/// it are counted, each once.
#[test]
fn forks_as_fast_as_it_can() {
    if !needs::tracing() {
        return;
    }
    let storm = storm("fast", 40_000);
    assert!(storm.unfollowed > 0 && storm.listed >= 32_000, "{} listed", storm.listed);
    assert!(storm.ended.report.contains("process"), "{}", storm.ended.report);
    // Mappings of a process that is gone at once may not be read in time; the page that it copied is counted all the same.
    assert!(written(&storm) <= storm.listed);
    let copied = storm.ended.trace.processes.iter().filter(|process| process.copied_bytes >= PAGE).count();
    assert!(copied as u64 >= storm.listed, "{copied} processes copied something");
}

/// Five thousand at once: every one is followed, and its one page is told by its function.
#[test]
fn crowd_of_five_thousand() {
    if !needs::tracing() {
        return;
    }
    let storm = storm("crowd", 5_000);
    check::nothing_lost(&storm.ended.trace);
    assert_eq!(storm.listed, 5_000);
    assert_eq!(written(&storm), 5_000, "pages told to be the loop's");
}
