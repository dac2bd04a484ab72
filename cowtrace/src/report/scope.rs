//! What the report is about: the copies that a fork is to blame for, and who made them.

use super::filter::Part;
use super::groups::{self, Group, Looked};
use super::programs::{Program, Programs};
use crate::record::schema::{Fault, Outcome, PageSize, Process, Trace};

/// A trace, and what every part of the report asks about it.
pub(super) struct Scope<'a> {
    /// The trace.
    pub(super) trace: &'a Trace,
    /// Directory that file names are shown relative to.
    pub(super) directory: Option<&'a str>,
    /// What part of a whole trace it is; `None` = it is the whole.
    pub(super) part: Option<&'a Part>,
    /// Who ran what.
    programs: Programs,
    /// For every process, what it copied while its memory was shared.
    copied: Vec<Copied>,
    /// For every process, whether a pool's machinery ran in it.
    worker: Vec<bool>,
    /// For every process, whether others were forked from it and share its memory.
    forked: Vec<bool>,
    /// What was copied while nothing was shared, although there had been a fork.
    unshared: Copied,
    /// The listed copies since memory is shared.
    groups: Vec<Group>,
}

/// Copies of one process or of many. `pages` and `bytes` are copies of memory that was shared by a fork, the `file_` ones
/// first writes to pages of privately mapped files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) pages: u64,
    pub(super) bytes: u64,
    pub(super) file_pages: u64,
    pub(super) file_bytes: u64,
}

/// What is left of inherited memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untouched {
    /// The process inherited nothing that it still has.
    Nothing,
    /// Not known: details were lost, it forked itself and may have copied the same page twice, or only a part of its time
    /// is reported.
    Unknown,
    /// So many bytes.
    Bytes(u64),
}

impl Copied {
    /// Pages of both sorts.
    pub(super) const fn all_pages(&self) -> u64 {
        self.pages + self.file_pages
    }

    /// Bytes of both sorts.
    pub(super) const fn all_bytes(&self) -> u64 {
        self.bytes + self.file_bytes
    }

    /// Faults with this outcome.
    pub(super) const fn of(outcome: Outcome, pages: u64, bytes: u64) -> Self {
        match outcome {
            Outcome::Copy => Self { pages, bytes, file_pages: 0, file_bytes: 0 },
            Outcome::FileCopy => Self { pages: 0, bytes: 0, file_pages: pages, file_bytes: bytes },
            Outcome::Reuse
            | Outcome::ZeroFill
            | Outcome::SharedWrite
            | Outcome::Read
            | Outcome::SwapIn
            | Outcome::Other
            | Outcome::Failed => Self { pages: 0, bytes: 0, file_pages: 0, file_bytes: 0 },
        }
    }

    /// Adds another's.
    pub(super) const fn add(&mut self, other: &Self) {
        self.pages += other.pages;
        self.bytes += other.bytes;
        self.file_pages += other.file_pages;
        self.file_bytes += other.file_bytes;
    }

    /// What is left without another's.
    pub(super) const fn without(&self, other: &Self) -> Self {
        Self {
            pages: self.pages.saturating_sub(other.pages),
            bytes: self.bytes.saturating_sub(other.bytes),
            file_pages: self.file_pages.saturating_sub(other.file_pages),
            file_bytes: self.file_bytes.saturating_sub(other.file_bytes),
        }
    }

    /// The larger of each number.
    fn at_least(&self, other: &Self) -> Self {
        Self {
            pages: self.pages.max(other.pages),
            bytes: self.bytes.max(other.bytes),
            file_pages: self.file_pages.max(other.file_pages),
            file_bytes: self.file_bytes.max(other.file_bytes),
        }
    }
}

impl<'a> Scope<'a> {
    /// Looks at every process and every listed fault once.
    pub(super) fn new(trace: &'a Trace, directory: Option<&'a str>) -> Self {
        Self::of_part(trace, directory, None)
    }

    /// The same of what a filter has left of a trace.
    pub(super) fn of_part(trace: &'a Trace, directory: Option<&'a str>, part: Option<&'a Part>) -> Self {
        let programs = Programs::new(trace);
        let Looked { listed, before, worker, unshared, groups, .. } = groups::look(trace, &programs);
        let known = listed.iter().zip(&before);
        let pages = trace.header.pages();
        let copied = trace.processes.iter().zip(known).map(|(p, (l, b))| exact(p, l, b, pages)).collect();
        let forked = vec![false; trace.processes.len()];
        let mut scope = Self { trace, directory, part, programs, copied, worker, forked, unshared, groups };
        // A child of vfork borrows: it makes nobody share pages again.
        for parent in trace.processes.iter().filter_map(Process::forked_from) {
            if let Some(forked) = scope.forked.get_mut(parent) {
                *forked = true;
            }
        }
        scope
    }

    /// The listed copies since memory is shared.
    pub(super) fn copies(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// True when the fault's process shared its memory with another at the time.
    pub(super) fn is_shared(&self, fault: &Fault) -> bool {
        let operation = self.trace.operations.get(fault.operation);
        !operation.is_some_and(groups::is_exec)
            && self.programs.is_shared(self.trace, fault.process, fault.time)
    }

    /// True for a fault that counts: one of [`Scope::copies`].
    pub(super) fn is_copy(&self, fault: &Fault) -> bool {
        matches!(fault.outcome, Outcome::Copy | Outcome::FileCopy) && self.is_shared(fault)
    }

    /// What a process ran at this time; `None` = there is no such process.
    pub(super) fn program(&self, process: usize, time: u64) -> Option<Program> {
        self.programs.of(self.trace, process, time)
    }

    /// What this process copied since its tree shares memory, whether it is listed or not.
    pub(super) fn copied(&self, process: usize) -> Copied {
        self.copied.get(process).copied().unwrap_or_default()
    }

    /// What all processes copied.
    pub(super) fn total(&self) -> Copied {
        self.copied.iter().fold(Copied::default(), |mut sum, one| {
            sum.add(one);
            sum
        })
    }

    /// Copies whose details were lost, over all processes.
    pub(super) fn without_details(&self) -> Copied {
        let mut listed = Copied::default();
        self.copies().for_each(|group| listed.add(&group.copied));
        self.total().without(&listed)
    }

    /// True when a pool's machinery ran in this process.
    pub(super) fn is_worker(&self, process: usize) -> bool {
        self.worker.get(process).copied().unwrap_or_default()
    }

    /// True for a process that was forked while it was watched and goes on with its parent's program.
    pub(super) fn is_child(&self, process: usize) -> bool {
        self.trace.processes.get(process).is_some_and(|p| p.parent.is_some())
            && self.programs.went_on(process)
    }

    /// True for processes of the program that had most to share; the others ran something else.
    pub(super) fn is_main(&self, process: usize) -> bool {
        self.programs.is_main(process)
    }

    /// True for a fault of that program.
    pub(super) fn is_of_main(&self, fault: &Fault) -> bool {
        self.programs.ran_main(self.trace, fault.process, fault.time)
    }

    /// True for a process that others were forked from and share memory with.
    pub(super) fn has_forked(&self, process: usize) -> bool {
        self.forked.get(process).copied().unwrap_or_default()
    }

    /// What was copied while nothing was shared, although there had been a fork: the start of other programs.
    pub(super) const fn unshared(&self) -> Copied {
        self.unshared
    }

    /// Part of what a process inherited that it copied; `None` if that says nothing: its own children made it share
    /// pages again, or it has given up what it inherited.
    pub(super) fn share(&self, process: usize) -> Option<(u64, u64)> {
        let inherited = self.trace.processes.get(process)?.inherited_bytes;
        let copied = self.copied(process).bytes;
        let says = self.is_child(process) && !self.has_forked(process) && copied <= inherited;
        says.then_some((copied, inherited))
    }

    /// True for a process that is in the part of the trace which is reported.
    pub(super) fn is_chosen(&self, process: usize) -> bool {
        self.part.is_none_or(|part| part.is_chosen(process))
    }

    /// What a worker inherited; `None` = it is no worker: one was forked while it was watched, inherited memory, and ran to
    /// its end the program that had most to share, as its parent did.
    pub(super) fn inherited(&self, process: usize) -> Option<u64> {
        let inherited = self.trace.processes.get(process)?.inherited_bytes;
        (inherited > 0 && self.is_child(process) && self.is_main(process)).then_some(inherited)
    }

    /// What of the memory that a process inherited it never wrote to, at its end or at that of the trace: whoever still had
    /// it shared it until then.
    pub(super) fn untouched(&self, process: usize) -> Untouched {
        let Some(of) = self.trace.processes.get(process) else { return Untouched::Nothing };
        if of.inherited_bytes == 0 || !self.is_child(process) || !self.is_chosen(process) {
            return Untouched::Nothing;
        }
        let lost = of.totals.outcomes.iter().any(|(_, total)| total.lost > 0);
        let cut = self.part.is_some_and(Part::is_timed);
        match self.share(process).filter(|_| !lost && !cut) {
            None => Untouched::Unknown,
            Some((copied, inherited)) => {
                // What its last owner wrote in place is shared no more either, without a copy.
                // As the kernel copies them when nothing else is known.
                let in_place = self.trace.header.pages().of_pages(of.totals.faults(Outcome::Reuse));
                Untouched::Bytes(inherited.saturating_sub(copied).saturating_sub(in_place))
            }
        }
    }

    /// True when cowtrace ran the command itself, so that nothing was shared at the start.
    pub(super) const fn launched(&self) -> bool {
        !self.trace.header.command.is_empty() && !self.trace.header.is_attached()
    }
}

/// The exact totals of a process, without what happened before anything was shared.
fn exact(process: &Process, listed: &Copied, before: &Copied, pages: PageSize) -> Copied {
    let (copy, file) = (process.totals.of(Outcome::Copy), process.totals.of(Outcome::FileCopy));
    let counted = Copied {
        pages: copy.faults,
        bytes: process.totals.copied_bytes,
        file_pages: file.faults,
        file_bytes: process.totals.file_copied_bytes,
    };
    let unlisted = Copied {
        pages: copy.unlisted,
        bytes: pages.of_pages(copy.unlisted),
        file_pages: file.unlisted,
        file_bytes: pages.of_pages(file.unlisted),
    };
    counted.without(before).without(&unlisted).at_least(listed)
}
