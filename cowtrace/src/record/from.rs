//! Attributed faults, the tree and the kernel's totals → [`Trace`]. The only place that knows both sides.

use std::collections::{HashMap, HashSet};

use cowtrace_ebpf::drops::DropReason;
use cowtrace_ebpf::outcome::Outcome;
use cowtrace_ebpf::state::{ProcessKey, Totals};

use super::collections;
use super::schema::{self, Header, Loss, OutcomeTotal, ProcessTotals, Summary, Trace};
use crate::attribute::Output;
use crate::classify;
use crate::process::tree::{Process, Tree};

/// Bytes of a page, in which the kernel counts what is inherited.
const PAGE: u64 = 4096;

/// Everything that a finished session knows.
pub struct Parts {
    /// What was traced and how.
    pub header: Header,
    /// The tree.
    pub tree: Tree,
    /// The attributed faults.
    pub output: Output,
    /// The kernel's totals.
    pub totals: HashMap<ProcessKey, Totals>,
    /// What the kernel program dropped: reason, CPU, count.
    pub drops: Vec<(DropReason, u32, u64)>,
    /// Records that could not be decoded.
    pub undecoded: u64,
    /// `CLOCK_MONOTONIC` at the start, nanoseconds.
    pub origin: u64,
    /// How long it ran, nanoseconds.
    pub duration: u64,
    /// CPU time of cowtrace's own threads, nanoseconds.
    pub own_cpu_ns: u64,
    /// Part of it until the command ran.
    pub setup_ns: u64,
}

/// Puts the trace together.
#[must_use]
pub fn trace(parts: Parts) -> Trace {
    let Parts { header, tree, mut output, totals, drops, undecoded, origin, duration, own_cpu_ns, setup_ns } =
        parts;
    output.faults.sort_by_key(|fault| fault.time);
    let collections = collections::numbered(&mut output.faults, &output.generations);
    let listed: HashSet<usize> = output
        .faults
        .iter()
        .filter(|fault| fault.outcome == schema::Outcome::SharedWrite)
        .map(|fault| fault.process)
        .collect();
    let processes: Vec<schema::Process> = tree
        .processes()
        .iter()
        .enumerate()
        .map(|(index, process)| {
            let counted = totals.get(&process.key).copied().unwrap_or_default();
            let shared = output.shared_writes.get(&index).copied().unwrap_or_default();
            let listed = listed.contains(&index);
            recorded_process(process, &counted, shared, listed, origin)
        })
        .collect();
    let losses = losses(&drops, undecoded);
    let probe_ns = totals.values().map(|totals| totals.probe_ns).sum();
    let summary =
        Summary { setup_ns, probe_ns, duration, ..summary(&processes, &losses, own_cpu_ns + probe_ns) };
    Trace {
        header,
        processes,
        faults: output.faults,
        regions: output.regions,
        operations: output.operations,
        writes: output.writes,
        sites: output.sites,
        python: output.python,
        native: output.native,
        collections,
        module_tables: output.module_tables,
        pages: Vec::new(),
        losses,
        summary,
    }
}

fn recorded_process(
    process: &Process,
    counted: &Totals,
    shared: u64,
    listed: bool,
    origin: u64,
) -> schema::Process {
    schema::Process {
        pid: process.key.pid,
        ppid: process.parent_pid,
        parent: process.parent,
        generation: process.generation,
        start: process.start.saturating_sub(origin),
        end: process.end.map(|end| end.saturating_sub(origin)),
        execs: process.execs.iter().map(|time| time.saturating_sub(origin)).collect(),
        comm: text(process.comm.split(|&byte| byte == 0).next().unwrap_or_default()),
        exe: (!process.exe.is_empty()).then(|| text(&process.exe)),
        command: process.command.iter().map(|argument| text(argument)).collect(),
        inherited_bytes: process.inherited_pages.saturating_mul(PAGE),
        exit_status: process.end.and(process.exit_code).map(exit_status),
        totals: process_totals(counted, shared, listed),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `wait`'s status word as a shell tells it: the exit code, or 128 and the signal.
fn exit_status(code: u32) -> i32 {
    let signal = (code & 0x7f).cast_signed();
    if signal == 0 { ((code >> 8) & 0xff).cast_signed() } else { 128 + signal }
}

/// Totals in the record's words; `shared` faults move from reuse to shared writes (see [`crate::classify`]).
fn process_totals(counted: &Totals, shared: u64, listed: bool) -> ProcessTotals {
    let mut outcomes: Vec<(schema::Outcome, OutcomeTotal)> = Outcome::ALL
        .iter()
        .map(|&outcome| {
            let at = outcome as usize;
            let total = OutcomeTotal {
                faults: counted.faults[at],
                unlisted: counted.unlisted[at],
                lost: counted.lost[at],
            };
            (classify::recorded(outcome), total)
        })
        .collect();
    for (outcome, total) in &mut outcomes {
        match outcome {
            schema::Outcome::Reuse => total.faults = total.faults.saturating_sub(shared),
            schema::Outcome::SharedWrite => {
                total.faults += shared;
                total.unlisted += if listed { 0 } else { shared };
            }
            _ => {}
        }
    }
    ProcessTotals {
        outcomes,
        copied_bytes: counted.copied_bytes,
        file_copied_bytes: counted.file_copied_bytes,
    }
}

fn losses(drops: &[(DropReason, u32, u64)], undecoded: u64) -> Vec<Loss> {
    let mut losses: Vec<Loss> = drops
        .iter()
        .map(|&(reason, cpu, count)| Loss { stage: reason.stage().to_owned(), cpu, count })
        .collect();
    // Later stages do not know the CPU any more.
    losses.push(Loss { stage: "decode".to_owned(), cpu: 0, count: undecoded });
    losses
}

fn summary(processes: &[schema::Process], losses: &[Loss], tool_cpu_ns: u64) -> Summary {
    let sum = |outcome| processes.iter().map(|process| process.totals.faults(outcome)).sum();
    Summary {
        faults: processes
            .iter()
            .flat_map(|process| &process.totals.outcomes)
            .map(|(_, total)| total.faults)
            .sum(),
        copies: sum(schema::Outcome::Copy),
        copied_bytes: processes.iter().map(|process| process.totals.copied_bytes).sum(),
        file_copies: sum(schema::Outcome::FileCopy),
        reuses: sum(schema::Outcome::Reuse),
        lost: losses.iter().map(|loss| loss.count).sum(),
        tool_cpu_ns,
        ..Summary::default()
    }
}
