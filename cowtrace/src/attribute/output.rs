//! What attribution makes: faults one behind the other, and the tables that they refer to.

use std::collections::BTreeMap;

use cowtrace_ebpf::outcome::Outcome;

use crate::classify::Corrected;
use crate::record::schema::{
    Fault, Id, ModuleTable, NativeFrame, Operation, PythonFrame, Region, Site, Table, Write,
};

/// What attribution makes. Faults are handed on from time to time; what is found out about one behind that is told as an
/// [`Amendment`].
#[derive(Default)]
pub struct Output {
    /// The listed faults that were not handed on yet, in the order in which they were written.
    faults: Vec<Fault>,
    /// How many were handed on.
    handed_on: usize,
    /// Of faults that were handed on.
    amendments: Vec<Amendment>,
    /// Regions.
    pub regions: Table<Region>,
    /// Operations.
    pub operations: Table<Operation>,
    /// Writes.
    pub writes: Table<Write>,
    /// Sites.
    pub sites: Table<Site>,
    /// Interpreter stacks.
    pub python: Table<Vec<PythonFrame>>,
    /// Native stacks.
    pub native: Table<Vec<NativeFrame>>,
    /// Where the entries of `sys.modules` lay.
    pub module_tables: Vec<ModuleTable>,
    /// Generations of the numbered collections, by [`Fault::collection`] − 1.
    pub generations: Vec<Option<u8>>,
    /// Faults whose outcome the mappings have corrected, listed or not: by process, by what the kernel program had taken
    /// them for and by what they were.
    pub corrected: BTreeMap<(usize, Outcome, Outcome), Corrected>,
}

/// What a fault was part of, found out after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// Number of the fault, from 0 on, in the order in which they were written.
    pub fault: usize,
    /// What the workload was doing.
    pub operation: Id<Operation>,
    /// Number of the garbage collection; `None` = as it was.
    pub collection: Option<u32>,
}

impl Amendment {
    /// Changes its fault.
    pub const fn apply(&self, fault: &mut Fault) {
        fault.operation = self.operation;
        if self.collection.is_some() {
            fault.collection = self.collection;
        }
    }
}

impl Output {
    /// Number of the fault that comes next.
    #[must_use]
    pub const fn next_fault(&self) -> usize {
        self.handed_on + self.faults.len()
    }

    /// Faults that wait to be handed on.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.faults.len()
    }

    /// Adds a fault.
    pub fn push(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Tells of a fault what was found out after it.
    pub fn amend(&mut self, amendment: Amendment) {
        match amendment.fault.checked_sub(self.handed_on) {
            Some(index) => {
                if let Some(fault) = self.faults.get_mut(index) {
                    amendment.apply(fault);
                }
            }
            None => self.amendments.push(amendment),
        }
    }

    /// Hands on the faults that came since the last time, and what was found out about those before.
    pub fn hand_on(&mut self) -> (Vec<Fault>, Vec<Amendment>) {
        self.handed_on += self.faults.len();
        (std::mem::take(&mut self.faults), std::mem::take(&mut self.amendments))
    }
}
