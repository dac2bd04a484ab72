//! Many processes, and many at once: nothing may be lost.

use cowtrace_tests::check::{self, Listing};
use cowtrace_tests::facts::parse;
use cowtrace_tests::{Run, Trace, needs, programs, repeats};

const COMMANDS: usize = 2000;

fn all_there(trace: &Trace) {
    check::nothing_lost(trace);
    check::totals_add_up(trace);
}

/// A shell runs 2,000 commands, one after another.
fn commands_of(shell: &str) {
    if !needs::tracing() {
        return;
    }
    let script = format!("i=0; while [ $i -lt {COMMANDS} ]; do /bin/true; i=$((i+1)); done");
    let traced = Run::new(shell).arg("-c").arg(script).timeout(300).trace();
    all_there(&traced.trace);
    let commands: Vec<_> = traced.trace.processes.iter().filter(|process| process.generation == 1).collect();
    assert_eq!(commands.len(), COMMANDS);
    assert_eq!(traced.trace.processes.len(), COMMANDS + 1);
    let root = traced.trace.processes.iter().find(|p| p.generation == 0).expect("the shell");
    for command in commands {
        assert_eq!((command.ppid, command.exit_status), (root.pid, Some(0)), "{command:?}");
        assert_eq!(command.comm, "true", "{command:?}");
        assert!(command.end.is_some_and(|end| end >= command.start), "{command:?}");
    }
}

/// 2,000 commands of a shell that forks (or vforks, as newer dash does).
#[test]
fn two_thousand_commands() {
    commands_of("/bin/sh");
}

/// 2,000 commands of a shell that forks each.
#[test]
fn two_thousand_forks() {
    if !std::path::Path::new("/bin/bash").exists() {
        needs::skipped("no bash");
        return;
    }
    commands_of("/bin/bash");
}

/// 200 children that are all there at once write 64 MiB of what they inherited.
#[test]
fn two_hundred_children_at_once() {
    if !needs::tracing() {
        return;
    }
    for _ in 0..repeats(2) {
        let traced = Run::new(programs::built("load")).timeout(120).trace();
        all_there(&traced.trace);
        let facts = parse(&traced.finished.stdout_text());
        check::facts(&traced.trace, &facts, Listing::Default);
        let children = traced.trace.processes.iter().filter(|process| process.generation == 1).count();
        assert_eq!(children, 200);
        let region = &facts[0];
        let copied: u64 = traced
            .trace
            .faults
            .iter()
            .filter(|fault| (region.start..region.end).contains(&fault.address) && fault.outcome == "copy")
            .map(|fault| fault.bytes)
            .sum();
        assert_eq!(copied, 16_400 * 4096);
    }
}
