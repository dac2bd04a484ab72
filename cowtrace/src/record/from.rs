//! A live session → pieces. The only place that knows both sides.

use std::collections::HashMap;

use cowtrace_ebpf::drops::DropReason;
use cowtrace_ebpf::outcome::Outcome;
use cowtrace_ebpf::state::{ProcessKey, Totals};

use super::piece::{self, Definitions, Piece};
use super::schema::{self, Loss, OutcomeTotal, ProcessTotals, Table};
use super::sink::Sink;
use crate::attribute::Output;
use crate::classify::{self, Corrected};
use crate::page;
use crate::process::tree::{Process, Tree};

/// Hands on what is new of a session.
pub struct Recorder {
    /// Whom to.
    pub sink: Sink,
    /// `CLOCK_MONOTONIC` at the start, nanoseconds.
    origin: u64,
    /// Every fault is listed.
    list_all: bool,
    told: Told,
}

/// What was handed on.
#[derive(Default)]
struct Told {
    regions: usize,
    operations: usize,
    writes: usize,
    sites: usize,
    python: usize,
    native: usize,
    processes: Vec<schema::Process>,
    generations: Vec<Option<u8>>,
}

impl Recorder {
    /// Begins. `origin` is the time that the record counts from.
    #[must_use]
    pub fn new(sink: Sink, origin: u64, list_all: bool) -> Self {
        Self { sink, origin, list_all, told: Told::default() }
    }

    /// Hands on what came since the last time: first what faults refer to, then faults.
    pub fn hand_on(&mut self, tree: &Tree, output: &mut Output, totals: &HashMap<ProcessKey, Totals>) {
        let told = &mut self.told;
        let definitions = Definitions {
            regions: new(&output.regions, &mut told.regions),
            operations: new(&output.operations, &mut told.operations),
            writes: new(&output.writes, &mut told.writes),
            sites: new(&output.sites, &mut told.sites),
            python: new(&output.python, &mut told.python),
            native: new(&output.native, &mut told.native),
        };
        if !definitions.is_empty() {
            self.sink.take(Piece::Definitions(Box::new(definitions)));
        }
        self.processes(tree, output, totals);
        let (faults, amendments) = output.hand_on();
        if !faults.is_empty() {
            self.sink.take(Piece::Faults(faults));
        }
        if !amendments.is_empty() {
            let recorded = |amendment: crate::attribute::Amendment| piece::Amendment {
                fault: amendment.fault as u64,
                operation: u32::try_from(amendment.operation.index()).unwrap_or(u32::MAX),
                collection: amendment.collection,
            };
            self.sink.take(Piece::Amendments(amendments.into_iter().map(recorded).collect()));
        }
        self.generations(output);
    }

    fn processes(&mut self, tree: &Tree, output: &Output, totals: &HashMap<ProcessKey, Totals>) {
        let mut changed = Vec::new();
        for (index, process) in tree.processes().iter().enumerate() {
            let counted = totals.get(&process.key).copied().unwrap_or_default();
            let totals = process_totals(&counted, &corrections(output, index), self.list_all);
            let process = recorded_process(process, totals, self.origin);
            match self.told.processes.get_mut(index) {
                Some(told) if *told == process => continue,
                Some(told) => *told = process.clone(),
                None => self.told.processes.push(process.clone()),
            }
            changed.push((index, process));
        }
        if !changed.is_empty() {
            self.sink.take(Piece::Processes(changed));
        }
    }

    fn generations(&mut self, output: &Output) {
        let told = &mut self.told.generations;
        let mut changed = Vec::new();
        for (number, &generation) in (1..).zip(&output.generations) {
            match told.get_mut(number as usize - 1) {
                Some(told) if *told == generation => continue,
                Some(told) => *told = generation,
                None => told.push(generation),
            }
            changed.push((number, generation));
        }
        if !changed.is_empty() {
            self.sink.take(Piece::Generations(changed));
        }
    }
}

/// What a table has beyond what was told.
fn new<T: Clone>(table: &Table<T>, told: &mut usize) -> Vec<T> {
    let values = table.values().get(*told..).unwrap_or_default().to_vec();
    *told += values.len();
    values
}

fn recorded_process(process: &Process, totals: ProcessTotals, origin: u64) -> schema::Process {
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
        inherited_bytes: process.inherited_bytes(page::here()),
        borrows: process.borrows,
        attached: process.attached.is_some(),
        private_bytes: process.baseline().map(|baseline| baseline.own),
        container: process.container.as_deref().map(str::to_owned),
        exit_status: process.end.and(process.exit_code).map(exit_status),
        totals,
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

/// What the kernel program took for one outcome and was another, of one process.
type Correction = (Outcome, Outcome, Corrected);

fn corrections(output: &Output, process: usize) -> Vec<Correction> {
    let of = output.corrected.range((process, Outcome::Copy, Outcome::Copy)..);
    let of = of.take_while(|((index, ..), _)| *index == process);
    of.map(|((_, from, to), corrected)| (*from, *to, *corrected)).collect()
}

/// Totals in the record's words, corrected (see [`crate::classify`]).
fn process_totals(counted: &Totals, corrections: &[Correction], list_all: bool) -> ProcessTotals {
    let total = |outcome: Outcome| {
        let at = outcome as usize;
        let mut total = OutcomeTotal {
            faults: counted.faults[at],
            unlisted: counted.unlisted[at],
            lost: counted.lost[at],
        };
        for (from, to, corrected) in corrections {
            if *from == outcome {
                total.faults = total.faults.saturating_sub(corrected.faults);
            }
            if *to == outcome {
                total.faults += corrected.faults;
                total.unlisted += if list_all || outcome.is_listed() { 0 } else { corrected.faults };
            }
        }
        (classify::recorded(outcome), total)
    };
    let copied = corrections.iter().filter(|(_, to, _)| *to == Outcome::Copy);
    ProcessTotals {
        outcomes: Outcome::ALL.iter().map(|outcome| total(*outcome)).collect(),
        copied_bytes: counted.copied_bytes + copied.map(|(.., corrected)| corrected.bytes).sum::<u64>(),
        file_copied_bytes: counted.file_copied_bytes,
    }
}

/// What was lost: of the kernel program by reason and CPU, and records that could not be decoded.
#[must_use]
pub fn losses(drops: &[(DropReason, u32, u64)], undecoded: u64) -> Vec<Loss> {
    let mut losses: Vec<Loss> = drops
        .iter()
        .map(|&(reason, cpu, count)| Loss { stage: reason.stage().to_owned(), cpu, count })
        .collect();
    // Later stages do not know the CPU any more.
    losses.push(Loss { stage: "decode".to_owned(), cpu: 0, count: undecoded });
    losses
}
