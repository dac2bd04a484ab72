//! The ground-truth programs themselves, without cowtrace: their figures agree with what the page frames and the kernel's
//! fault counter say.
#![expect(clippy::panic, reason = "helpers of tests")]

use cowtrace_tests::facts::{Fact, Mode, parse};
use cowtrace_tests::settings::Settings;
use cowtrace_tests::{Run, needs, programs, repeats};

/// Every program compiles. Where there is no compiler, they are taken from where there is one.
#[test]
fn programs_compile() {
    for &(program, _) in programs::CASES {
        assert!(programs::built(program).exists(), "{program}");
    }
}

/// Both witnesses of every case say what the program says.
#[test]
fn witnesses_agree_with_the_programs() {
    if !needs::page_frames() {
        return;
    }
    for _ in 0..repeats(5) {
        for &(program, case) in programs::CASES {
            let _settings = Settings::of(program);
            let finished = Run::new(programs::built(program)).arg(case).alone();
            assert_eq!(finished.code(), 0, "{program} {case}: {}", finished.stderr_text());
            for fact in parse(&finished.stdout_text()) {
                agrees(&fact);
            }
        }
    }
}

fn agrees(fact: &Fact) {
    let moved = match fact.outcome.as_str() {
        "copy" | "file_copy" => Some(fact.bytes / 4096),
        "shared_write" | "failed" | "reuse" => Some(0),
        // A huge page that is filled moves 512 frames; a page that comes back from elsewhere has a new one.
        "zero_fill" | "swap_in" | "other" => None,
        outcome => panic!("{outcome} is no outcome of these programs"),
    };
    if let (Some(moved), Some(differ)) = (moved, fact.differ) {
        assert_eq!(differ, moved, "page frames: {fact:?}");
    }
    let Some(faults) = fact.faults else { return };
    match fact.region.as_str() {
        // The loser of a race for a page takes a fault, too; so does the meeting place.
        "race" => assert!(faults >= fact.pages, "{fact:?}"),
        "race_parent" => assert!(faults >= 1009, "{fact:?}"),
        // A refused fault is not counted.
        "refused" => assert_eq!(faults, 0, "{fact:?}"),
        // Its copies, if there are any, share the figure.
        "child_gone" | "child_copied" | "parent_first" | "protected_own" | "protected_alone" | "dontfork"
            if fact.outcome == "reuse" =>
        {
            assert!(faults >= fact.pages, "{fact:?}");
        }
        _ => assert_eq!(faults, fact.pages, "faults that the kernel counted: {fact:?}"),
    }
    assert!(fact.mode != Mode::Gup || fact.outcome == "copy", "{fact:?}");
}

/// Nobody keeps the other end of a page in these cases when no tracer looks on, so every write is a reuse.
#[test]
fn nothing_but_reuses_when_nobody_looks_on() {
    if !needs::page_frames() {
        return;
    }
    for _ in 0..repeats(5) {
        for (program, case, pages) in [
            ("reuse", "child_gone", 71),
            ("reuse", "child_copied", 73),
            ("reuse", "parent_first", 67),
            ("userfault", "protected_own", 173),
        ] {
            let finished = Run::new(programs::built(program)).arg(case).alone();
            let facts = parse(&finished.stdout_text());
            let reuses =
                facts.iter().filter(|fact| fact.outcome == "reuse").map(|fact| fact.pages).sum::<u64>();
            assert_eq!(reuses, pages, "{case}: {facts:?}");
        }
    }
}
