//! Programs that know what the kernel did about every page of their regions: the trace must say the same, exactly.

use cowtrace_tests::check::{self, Listing};
use cowtrace_tests::facts::{Fact, parse};
use cowtrace_tests::settings::Settings;
use cowtrace_tests::trace::LISTED;
use cowtrace_tests::{Fault, Run, Trace, needs, programs, repeats, together};

/// Traces one case and checks what is true of every trace.
fn trace(program: &str, case: &str, listing: Listing) -> (Trace, Vec<Fact>) {
    let (trace, stdout) = if listing == Listing::All && together::asked() {
        let cases = together::cases(program);
        let done = &cases[case];
        (done.trace.clone(), done.stdout.clone())
    } else {
        let _settings = Settings::of(program);
        let run = Run::new(programs::built(program)).arg(case);
        let traced = if listing == Listing::All { run.flag("--all") } else { run }.trace();
        check::nothing_lost(&traced.trace);
        check::totals_add_up(&traced.trace);
        (traced.trace, traced.finished.stdout_text())
    };
    let facts = parse(&stdout);
    check::facts(&trace, &facts, listing);
    (trace, facts)
}

fn exact(program: &str, case: &str) {
    assert!(programs::CASES.contains(&(program, case)), "{program} {case} is not in CASES");
    if !needs::tracing() {
        return;
    }
    for _ in 0..repeats(5) {
        trace(program, case, Listing::All);
    }
}

macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident: $program:literal, $case:literal;)*) => {
        $($(#[$doc])* #[test] fn $name() { exact($program, $case); })*
    };
}

cases! {
    /// A child that writes what it inherited copies each page once.
    anonymous_written: "anonymous", "written";
    /// The same is seen of a child that ends with its last write.
    anonymous_gone: "anonymous", "gone";
    /// Reading copies nothing.
    anonymous_read_only: "anonymous", "read_only";
    /// Shared memory stays shared.
    anonymous_shared: "anonymous", "shared";
    /// The zero page is filled, not copied, when it was mapped already.
    anonymous_zero_page: "anonymous", "zero_page";
    /// The zero page is filled, not copied, when the fork left its mapping out.
    anonymous_zero_page_unmapped: "anonymous", "zero_page_unmapped";
    /// Memory that nobody had touched is filled, not copied.
    anonymous_untouched: "anonymous", "untouched";
    /// Memory that is wiped by a fork is filled, not copied.
    anonymous_wiped: "anonymous", "wiped";
    /// What a child made its own, its own child copies again.
    anonymous_grandchild: "anonymous", "grandchild";
    /// What a child did not touch, its own child copies.
    anonymous_skipped: "anonymous", "skipped";
    /// The last owner of a page does not copy it, when the other is gone.
    reuse_child_gone: "reuse", "child_gone";
    /// The last owner of a page does not copy it, when the other has a copy.
    reuse_child_copied: "reuse", "child_copied";
    /// Parent and child swap roles: the parent copies, the child reuses.
    reuse_parent_first: "reuse", "parent_first";
    /// A page that a system call puts into the page cache is not the fault's before it.
    mixed_reuse_and_file: "mixed", "reuse_and_file";
    /// A page that a system call fills elsewhere is not the fault's before it.
    mixed_reuse_and_populate: "mixed", "reuse_and_populate";
    /// A page that a system call copies elsewhere is not the fault's before it.
    mixed_reuse_and_gup: "mixed", "reuse_and_gup";
    /// A page that a system call frees elsewhere does not undo the copy before it.
    mixed_copy_and_drop: "mixed", "copy_and_drop";
    /// A page that a system call frees elsewhere does not undo the first touch before it.
    mixed_zero_and_drop: "mixed", "zero_and_drop";
    /// A private file page that was read is copied from the page cache.
    file_read_then_written: "files", "read_then_written";
    /// A private file page that is first written is copied from the page cache.
    file_first_write: "files", "first_write";
    /// The same with page tables that the fork copied.
    file_copied_page_table: "files", "copied_page_table";
    /// A private file page that the parent had made its own is an ordinary copy.
    file_written_before: "files", "written_before";
    /// A shared file mapping stays shared.
    file_shared: "files", "shared";
    /// Copies carry the thread that wrote.
    thread_second: "threads", "second";
    /// Two threads want the same page at the same moment: one copy.
    thread_race: "threads", "race";
    /// Parent and child want the same page at the same moment: the page frames know who copied.
    thread_race_with_parent: "threads", "race_parent";
    /// A child forked by a thread is a child of the process.
    thread_forks: "threads", "fork_in_thread";
    /// Copies that the kernel makes for read(2), byte by byte.
    kernel_pipe_read: "kernel", "pipe_read";
    /// Copies that the kernel makes for one large read(2).
    kernel_zero_read: "kernel", "zero_read";
    /// A system call that gets an error for its address.
    kernel_refused: "kernel", "refused";
    /// Copies that the kernel makes without a page fault.
    kernel_gup: "kernel", "gup";
    /// Another process writes by process_vm_writev(2): the copies are the child's, the thread is the writer's.
    pinned_foreign: "pinned", "foreign";
    /// A debugger writes word by word.
    pinned_poke: "pinned", "poke";
    /// Another process writes through /proc/PID/mem.
    pinned_memory: "pinned", "memory";
    /// The disk writes into pages that were inherited.
    pinned_direct: "pinned", "direct";
    /// Pages that were inherited become a fixed buffer of io_uring.
    pinned_ring: "pinned", "ring";
    /// SIGSEGV first, then a copy: pages without access.
    signal_no_access: "signals", "no_access";
    /// SIGSEGV first, then a copy: pages that may be read.
    signal_read_only: "signals", "read_only";
    /// A vforked child writes its parent's memory, and nothing is copied.
    spawn_vfork: "spawn", "vfork";
    /// A vforked child copies pages on its parent's behalf.
    spawn_vfork_shared: "spawn", "vfork_shared";
    /// posix_spawn copies nothing.
    spawn_posix: "spawn", "posix_spawn";
    /// A child's writes to a shared huge page.
    huge_written: "huge", "huge_written";
    /// A parent's writes to a shared huge page.
    huge_parent: "huge", "huge_parent";
    /// A huge page that has no other owner left.
    huge_reuse: "huge", "huge_reuse";
    /// First touch of a huge page.
    huge_fresh: "huge", "huge_fresh";
    /// The huge zero page is filled, not copied.
    huge_zero: "huge", "huge_zero";
    /// Memory that was read-only when it was forked.
    kinds_protected: "kinds", "protected";
    /// Memory that was read-only and that nobody shares.
    kinds_protected_alone: "kinds", "protected_alone";
    /// Memory that a fork leaves out.
    kinds_dontfork: "kinds", "dontfork";
    /// A private mapping of /dev/zero is anonymous memory.
    kinds_dev_zero: "kinds", "dev_zero";
    /// Pages that may be taken away and were not yet.
    kinds_freed: "kinds", "freed";
    /// Memory above the program break.
    kinds_heap: "kinds", "heap";
    /// A stack that grows.
    kinds_stack: "kinds", "stack";
    /// Guard pages refuse the access; without them there is nothing there.
    kinds_guarded: "kinds", "guarded";
    /// A private page of shared memory that was read is copied from there.
    kinds_memfd_read: "kinds", "memfd_read";
    /// The same when it is first written.
    kinds_memfd_written: "kinds", "memfd_written";
    /// The same when there is nothing yet.
    kinds_memfd_hole: "kinds", "memfd_hole";
    /// Shared memory with a file stays shared.
    kinds_memfd_shared: "kinds", "memfd_shared";
    /// So does that of System V.
    kinds_system_v: "kinds", "system_v";
    /// First touch of large folios.
    folios_fresh: "folios", "folio_fresh";
    /// A child copies a large folio page by page.
    folios_written: "folios", "folio_written";
    /// So does its parent.
    folios_parent: "folios", "folio_parent";
    /// A child copies a page of hugetlbfs as a whole.
    hugetlb_written: "hugetlb", "hugetlb_written";
    /// So does its parent.
    hugetlb_parent: "hugetlb", "hugetlb_parent";
    /// A page of hugetlbfs that has no other owner left.
    hugetlb_reuse: "hugetlb", "hugetlb_reuse";
    /// First touch of a page of hugetlbfs.
    hugetlb_fresh: "hugetlb", "hugetlb_fresh";
    /// A shared mapping of hugetlbfs stays shared.
    hugetlb_shared: "hugetlb", "hugetlb_shared";
    /// A merged page is copied, although no fork shared it.
    merged_alone: "merged", "merged_alone";
    /// A page that was merged and then forked is copied.
    merged_shared: "merged", "merged_shared";
    /// A page that nobody shares comes back from swap.
    swapped_alone: "swapped", "swap_alone";
    /// A page that is shared comes back from swap and is copied at once.
    swapped_shared: "swapped", "swap_shared";
    /// A page that was read from swap is copied when it is written.
    swapped_read: "swapped", "swap_read";
    /// The parent copies a page that comes back from swap.
    swapped_parent: "swapped", "swap_parent";
    /// Another thread fills the page.
    userfault_missing: "userfault", "missing";
    /// Another thread lifts the protection of a page that is shared.
    userfault_protected: "userfault", "protected";
    /// Another thread lifts the protection of a page that nobody shares.
    userfault_protected_own: "userfault", "protected_own";
}

/// Two threads want the same page at the same moment: the one that comes second reuses nothing, since the parent holds
/// the old page throughout. When the first is done before the second's fault is looked at, no event tells that fault
/// from a reuse, only the page table does; so on the base rung a few are let through.
#[test]
fn thread_race_has_no_reuse() {
    if !needs::tracing() {
        return;
    }
    for _ in 0..repeats(5) {
        let (trace, facts) = trace("threads", "race", Listing::All);
        let region = facts[0].start..facts[0].end;
        let reuses =
            trace.faults.iter().filter(|f| region.contains(&f.address) && f.outcome == "reuse").count();
        let allowed = if trace.header.rung == "base" { 100 } else { 0 };
        assert!(reuses <= allowed, "{reuses} reuses of 2003 pages");
        if reuses > 0 {
            needs::skipped(&format!("{reuses} of 2003 contended pages seem to be reused as well"));
        }
    }
}

/// Without `--all`, what happened before the first fork is counted and not listed, and so are outcomes that copy nothing.
#[test]
fn default_listing() {
    if !needs::tracing() {
        return;
    }
    for &(program, case) in programs::CASES {
        let (trace, facts) = trace(program, case, Listing::Default);
        let first_fork =
            trace.processes.iter().filter(|p| p.generation > 0).map(|p| p.start).min().expect("a child");
        for fault in &trace.faults {
            assert!(LISTED.contains(&fault.outcome.as_str()), "not asked for: {fault:?}");
            assert!(fault.time >= first_fork, "before the first fork: {fault:?}");
        }
        for fact in facts.iter().filter(|fact| fact.before_fork) {
            let totals = &trace.process(fact.pid).totals;
            // What kind a page of hugetlbfs is, mappings tell, and those are asked about listed faults alone.
            let unlisted = match program {
                "hugetlb" => totals.values().map(|total| total.unlisted).sum(),
                _ => totals[&fact.outcome].unlisted,
            };
            assert!(unlisted >= fact.pages, "{program} {case}: {totals:?}, {fact:?}");
        }
    }
}

/// With `--all` nothing is left unlisted.
#[test]
fn full_listing() {
    if !needs::tracing() {
        return;
    }
    let (trace, _) = trace("anonymous", "written", Listing::All);
    for process in &trace.processes {
        for (outcome, total) in &process.totals {
            assert_eq!(total.unlisted, 0, "{outcome} of process {}", process.pid);
        }
    }
}

/// A fault of native code names the function that wrote, and its object.
#[test]
fn function_is_named() {
    if !needs::tracing() {
        return;
    }
    let (trace, facts) = trace("anonymous", "gone", Listing::Default);
    let child = facts.iter().find(|fact| fact.outcome == "copy").expect("a fact of the child");
    for fault in trace.faults_of(child.pid).filter(|f| (child.start..child.end).contains(&f.address)) {
        assert_eq!(fault.operation.kind, "native", "{fault:?}");
        assert_eq!(fault.region.kind, "anonymous", "{fault:?}");
        assert_eq!(
            fault.native.first().and_then(|frame| frame.symbol.as_deref()),
            Some("store_loop"),
            "{fault:?}"
        );
        assert_eq!(fault.site.as_ref().and_then(|s| s.function.as_deref()), Some("store_loop"), "{fault:?}");
    }
}

/// Where the kernel says what memory is for, faults there say so, too.
#[test]
fn kinds_are_named() {
    if !needs::tracing() {
        return;
    }
    for (program, case, kind) in KINDS {
        let (trace, facts) = trace(program, case, Listing::All);
        are_of_kind(&trace, &facts, &format!("{program} {case}"), kind);
    }
}

/// Cases, and of what kind the regions are that their children write.
const KINDS: [(&str, &str, &str); 4] = [
    ("kinds", "heap", "heap"),
    ("kinds", "memfd_read", "file"),
    ("kinds", "freed", "anonymous"),
    ("hugetlb", "hugetlb_written", "anonymous"),
];

fn are_of_kind(trace: &Trace, facts: &[Fact], case: &str, kind: &str) {
    for fact in facts.iter().filter(|fact| fact.generation == 1) {
        let inside = |fault: &&Fault| (fact.start..fact.end).contains(&fault.address);
        for fault in trace.faults_of(fact.pid).filter(inside) {
            assert_eq!(fault.region.kind, kind, "{case}: {fault:?}");
        }
    }
}

/// cowtrace is stopped by its command while that does all it does, and looks at it when it is gone: the same is told.
#[test]
fn kinds_are_named_by_one_who_comes_late() {
    if !needs::tracing() {
        return;
    }
    const STOPPED: &str = "kill -STOP $PPID; (sleep 2; kill -CONT $PPID) & exec \"$@\"";
    for (program, case, kind) in KINDS {
        let _settings = Settings::of(program);
        let run = Run::new("/bin/sh").args(["-c", STOPPED, "sh"]);
        let traced = run.arg(programs::built(program)).arg(case).flag("--all").trace();
        let facts = parse(&traced.finished.stdout_text());
        assert!(facts.iter().any(|fact| fact.generation == 1), "{program} {case}: nothing was told");
        check::nothing_lost(&traced.trace);
        check::totals_add_up(&traced.trace);
        check::facts(&traced.trace, &facts, Listing::All);
        are_of_kind(&traced.trace, &facts, &format!("{program} {case}, late"), kind);
    }
}

/// Process lines: who forked whom, what a spawned child became, how it ended, what it inherited.
#[test]
fn processes_are_described() {
    if !needs::tracing() {
        return;
    }
    let (traced, facts) = trace("threads", "fork_in_thread", Listing::Default);
    let (parent, child) = (facts[0].pid, facts[1].pid);
    assert_eq!(traced.process(child).ppid, parent, "a child of the process, not of its thread");
    let inherited = traced.process(child).inherited_bytes;
    assert!(inherited >= facts[0].pages * 4096, "inherited {inherited}");
    assert_eq!(traced.process(child).exit_status, Some(0));

    for case in ["vfork", "posix_spawn"] {
        let (traced, facts) = trace("spawn", case, Listing::Default);
        let child = traced.process(facts[1].pid);
        assert_eq!((child.comm.as_str(), child.exit_status), ("true", Some(0)), "{child:?}");
        assert_eq!(child.command, ["/bin/true"], "{child:?}");
        assert_eq!(child.inherited_bytes, 0, "it shared its parent's memory: {child:?}");
    }
}
