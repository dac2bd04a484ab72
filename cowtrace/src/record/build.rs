//! Pieces → [`Trace`].

use std::collections::HashMap;
use std::iter;

use super::collections::Numbering;
use super::order::sort;
use super::piece::{Amendment, Definitions, Piece, State};
use super::schema::{Alike, Fault, Id, Loss, Outcome, OutcomeTotal, Process, ProcessTotals, Summary, Trace};

/// Stage of what a recording that was cut off does not hold.
pub const RECORDING: &str = "recording";

/// Why a piece does not fit to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Misfit {
    what: &'static str,
}

const fn misfit(what: &'static str) -> Misfit {
    Misfit { what }
}

/// A trace under construction.
#[derive(Debug, Default)]
pub struct Builder {
    trace: Trace,
    /// Of faults that have not come.
    amendments: Vec<Amendment>,
    generations: Vec<Option<u8>>,
    state: State,
    /// Faults that were taken out by [`Builder::take_oldest`].
    taken_out: u64,
    /// Those of them about which something was found out too late.
    unamended: u64,
    /// Their collections.
    numbering: Numbering,
    /// Faults are counted, not kept.
    counts_alone: bool,
    /// Sum of all totals of all processes.
    figures: u128,
}

/// What all totals add up to at most: so that nobody who adds some of them has to fear an overflow.
const MOST_FIGURES: u128 = 1 << 62;
/// Bytes that one fault copies at most: some times the largest page that there is.
const MOST_BYTES: u64 = 1 << 34;

/// Sum of a process's totals.
fn figures(process: &Process) -> u128 {
    let ProcessTotals { outcomes, copied_bytes, file_copied_bytes } = &process.totals;
    let of = |total: &OutcomeTotal| [total.faults, total.unlisted, total.lost];
    let counted = outcomes.iter().flat_map(|(_, total)| of(total)).chain([*copied_bytes, *file_copied_bytes]);
    counted.map(u128::from).sum()
}

impl Builder {
    /// One that keeps no faults: for what is said of a trace whose faults go elsewhere.
    #[must_use]
    pub fn without_faults() -> Self {
        Self { counts_alone: true, ..Self::default() }
    }

    /// Makes room for so many faults.
    pub fn reserve(&mut self, faults: usize) {
        self.trace.faults.reserve_exact(faults);
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// If it refers to what did not come before it; nothing of it is taken then.
    pub fn take(&mut self, piece: Piece) -> Result<(), Misfit> {
        match piece {
            Piece::Header(header) => self.trace.header = *header,
            Piece::Definitions(definitions) => self.define(*definitions),
            Piece::Processes(processes) => self.processes(processes)?,
            Piece::Faults(faults) => {
                self.check(&faults)?;
                match () {
                    () if self.counts_alone => {}
                    // What is there already is not copied.
                    () if self.trace.faults.capacity() == 0 => self.trace.faults = faults,
                    () => self.trace.faults.extend_from_slice(&faults),
                }
            }
            Piece::Amendments(amendments) => {
                let operations = self.trace.operations.values().len();
                if amendments.iter().any(|amendment| amendment.operation as usize >= operations) {
                    return Err(misfit("it refers to an operation that it does not hold"));
                }
                for amendment in amendments {
                    self.amend(amendment);
                }
            }
            Piece::Generations(generations) => self.generations(&generations),
            Piece::ModuleTables(tables) => {
                let known = self.trace.processes.len();
                if tables.iter().flat_map(|table| &table.seen).any(|(process, _)| *process >= known) {
                    return Err(misfit("it refers to a process that it does not hold"));
                }
                self.trace.module_tables.extend(tables);
            }
            Piece::State(state) => {
                let State { own_cpu_ns, probe_ns, losses, .. } = &state;
                let lost = losses.iter().map(|loss| u128::from(loss.count)).sum::<u128>();
                if lost + u128::from(*own_cpu_ns) + u128::from(*probe_ns) > MOST_FIGURES {
                    return Err(misfit("its losses are more than can be counted"));
                }
                self.state = state;
            }
        }
        Ok(())
    }

    fn define(&mut self, definitions: Definitions) {
        let Trace { regions, operations, writes, sites, python, native, .. } = &mut self.trace;
        definitions.regions.into_iter().for_each(|value| regions.push(value));
        definitions.operations.into_iter().for_each(|value| operations.push(value));
        definitions.writes.into_iter().for_each(|value| writes.push(value));
        definitions.sites.into_iter().for_each(|value| sites.push(value));
        definitions.python.into_iter().for_each(|value| python.push(value));
        definitions.native.into_iter().for_each(|value| native.push(value));
    }

    fn processes(&mut self, processes: Vec<(usize, Process)>) -> Result<(), Misfit> {
        let known = &mut self.trace.processes;
        let mut count = known.len();
        // As they will be.
        let mut told: HashMap<usize, &Process> = HashMap::new();
        for (index, process) in &processes {
            if *index > count {
                return Err(misfit("it refers to a process that it does not hold"));
            }
            count = count.max(*index + 1);
            told.insert(*index, process);
        }
        let of = |at: usize| told.get(&at).copied().or(known.get(at)).and_then(|process| process.parent);
        for (&index, Process { parent, .. }) in &told {
            // The fork of a parent may have been lost, and told of later than its child's.
            if parent.is_some_and(|parent| parent >= count) {
                return Err(misfit("it refers to a process that it does not hold"));
            }
            // A new one closes a circle only if it comes before its parent.
            let moves = match known.get(index) {
                Some(known) => known.parent != *parent,
                None => parent.is_some_and(|parent| parent >= index),
            };
            let above = || iter::successors(*parent, |at| of(*at)).take(count);
            if moves && above().any(|above| above == index) {
                return Err(misfit("a process is its own ancestor"));
            }
        }
        let before = told.keys().filter_map(|index| known.get(*index)).map(figures).sum::<u128>();
        let figures = self.figures - before + told.values().map(|process| figures(process)).sum::<u128>();
        if figures > MOST_FIGURES {
            return Err(misfit("its totals are more than can be counted"));
        }
        self.figures = figures;
        for (index, process) in processes {
            match known.get_mut(index) {
                Some(known) => *known = process,
                None => known.push(process),
            }
        }
        Ok(())
    }

    fn generations(&mut self, generations: &[(u32, Option<u8>)]) {
        for &(number, generation) in generations {
            let Some(index) = (number as usize).checked_sub(1) else { continue };
            // Numbers come one behind the other.
            if index == self.generations.len() {
                self.generations.push(generation);
            } else if let Some(known) = self.generations.get_mut(index) {
                *known = generation;
            }
        }
    }

    /// Whether everything that faults refer to is there.
    fn check(&self, faults: &[Fault]) -> Result<(), Misfit> {
        let Trace { processes, regions, operations, writes, sites, python, native, .. } = &self.trace;
        let (processes, regions, operations) =
            (processes.len(), regions.values().len(), operations.values().len());
        let (writes, sites) = (writes.values().len(), sites.values().len());
        let (python, native) = (python.values().len(), native.values().len());
        for fault in faults {
            let fits = fault.process < processes
                && fault.region.index() < regions
                && fault.operation.index() < operations
                && fault.write.index() < writes
                && fault.site.is_none_or(|site| site.index() < sites)
                && fault.python.index() < python
                && fault.native.index() < native
                && fault.bytes <= MOST_BYTES;
            if !fits {
                return Err(misfit("it refers to a process, place or write that it does not hold"));
            }
        }
        Ok(())
    }

    /// Tells a fault what was found out about it; one that has not come, when it all has.
    fn amend(&mut self, amendment: Amendment) {
        let Some(at) = amendment.fault.checked_sub(self.taken_out) else {
            self.unamended += 1;
            return;
        };
        match usize::try_from(at).ok().and_then(|at| self.trace.faults.get_mut(at)) {
            Some(fault) => {
                fault.operation = Id::new(amendment.operation);
                fault.collection = amendment.collection.or(fault.collection);
            }
            None => self.amendments.push(amendment),
        }
    }

    /// The trace so far, with the figures of the whole as they were last told; its faults are in the order in which they
    /// came.
    pub fn so_far(&mut self) -> &Trace {
        let Self { trace, state, .. } = self;
        trace.losses.clone_from(&state.losses);
        let own = own(state, state.duration);
        trace.summary = summary(&trace.processes, &trace.losses, &own);
        trace
    }

    /// The faults that are kept.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.trace.faults
    }

    /// Takes the faults out that came first, for what is made of them to be put into [`Builder::alike`]. Their
    /// collections are counted.
    pub fn take_oldest(&mut self, number: usize) -> Vec<Fault> {
        let number = number.min(self.trace.faults.len());
        let oldest: Vec<Fault> = self.trace.faults.drain(..number).collect();
        self.taken_out += number as u64;
        self.numbering.count_all(&oldest);
        oldest
    }

    /// What was made of the faults that were taken out.
    pub const fn alike(&mut self) -> &mut Vec<Alike> {
        &mut self.trace.alike
    }

    /// The trace of what came. `cut` says, where it is known, why no more did.
    #[must_use]
    pub fn finish(mut self, cut: Option<String>) -> Trace {
        for amendment in std::mem::take(&mut self.amendments) {
            self.amend(amendment);
        }
        let Self { mut trace, generations, state, numbering, unamended, .. } = self;
        sort(&mut trace.faults);
        trace.collections = numbering.finish(&mut trace.faults, &generations);
        if unamended > 0 {
            trace.header.missing.push(format!(
                "What {unamended} faults were part of was found out too late: they stand as it seemed at first."
            ));
        }
        trace.losses.clone_from(&state.losses);
        let mut duration = state.duration;
        if !state.closed {
            duration = duration.max(trace.faults.last().map_or(0, |fault| fault.time));
            complete(&mut trace);
        }
        if let Some(cut) = cut {
            trace.header.missing.insert(0, cut);
        }
        let own = own(&state, duration);
        trace.summary = summary(&trace.processes, &trace.losses, &own);
        trace
    }
}

/// Makes the totals of a trace that was cut off agree with its faults: those that came after the last totals are added,
/// and those that were counted and did not come are lost.
fn complete(trace: &mut Trace) {
    let mut listed = vec![[(0, 0); Outcome::ALL.len()]; trace.processes.len()];
    for fault in &trace.faults {
        let (count, bytes) = &mut listed[fault.process][fault.outcome as usize];
        *count += 1;
        *bytes += fault.bytes;
    }
    for Alike { first, faults, bytes, .. } in &trace.alike {
        let (count, sum) = &mut listed[first.process][first.outcome as usize];
        *count += faults;
        *sum += bytes;
    }
    let mut missing = 0;
    for (process, listed) in trace.processes.iter_mut().zip(&listed) {
        let totals = &mut process.totals;
        for outcome in Outcome::ALL {
            let (count, _) = listed[outcome as usize];
            if !totals.outcomes.iter().any(|(known, _)| *known == outcome) {
                totals.outcomes.push((outcome, OutcomeTotal::default()));
            }
            for (_, total) in totals.outcomes.iter_mut().filter(|(known, _)| *known == outcome) {
                let told = count + total.unlisted + total.lost;
                let absent = total.faults.saturating_sub(told);
                total.lost += absent;
                missing += absent;
                total.faults = total.faults.max(told);
            }
        }
        totals.copied_bytes = totals.copied_bytes.max(listed[Outcome::Copy as usize].1);
        totals.file_copied_bytes = totals.file_copied_bytes.max(listed[Outcome::FileCopy as usize].1);
    }
    trace.losses.push(Loss { stage: RECORDING.to_owned(), cpu: 0, count: missing });
}

/// Figures of the whole that are told and not counted.
fn own(state: &State, duration: u64) -> Summary {
    Summary {
        tool_cpu_ns: state.own_cpu_ns + state.probe_ns,
        setup_ns: state.setup_ns,
        probe_ns: state.probe_ns,
        duration,
        ..Summary::default()
    }
}

/// Totals of the whole from those of the processes.
fn summary(processes: &[Process], losses: &[Loss], own: &Summary) -> Summary {
    let sum = |outcome| processes.iter().map(|process| process.totals.faults(outcome)).sum();
    Summary {
        faults: processes
            .iter()
            .flat_map(|process| &process.totals.outcomes)
            .map(|(_, total)| total.faults)
            .sum(),
        copies: sum(Outcome::Copy),
        copied_bytes: processes.iter().map(|process| process.totals.copied_bytes).sum(),
        file_copies: sum(Outcome::FileCopy),
        reuses: sum(Outcome::Reuse),
        lost: losses.iter().filter(|loss| loss.is_of_records()).map(|loss| loss.count).sum(),
        ..own.clone()
    }
}

#[cfg(test)]
mod tests;
