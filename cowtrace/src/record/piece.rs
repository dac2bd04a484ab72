//! A trace in pieces, in the order in which it comes about: what a session hands on, a file holds, and [`super::build`]
//! makes a [`Trace`] of. Live and from a file, the same.

use serde::{Deserialize, Serialize};

use super::schema::{
    Collection, Fault, Header, Loss, ModuleTable, NativeFrame, Operation, Process, PythonFrame, Region, Site,
    Summary, Trace, Write,
};

/// One piece.
#[derive(Clone, Debug)]
pub enum Piece {
    /// What is traced, and by which means; a later one replaces it.
    Header(Box<Header>),
    /// Values that the faults behind it refer to.
    Definitions(Box<Definitions>),
    /// Processes with their positions; a later one of the same position replaces it.
    Processes(Vec<(usize, Process)>),
    /// Listed faults, in the order in which they were written, which is nearly that of their times.
    Faults(Vec<Fault>),
    /// What was found out about faults of earlier pieces.
    Amendments(Vec<Amendment>),
    /// Generations of garbage collections, with the numbers that the faults give them.
    Generations(Vec<(u32, Option<u8>)>),
    /// Where the entries of `sys.modules` lay.
    ModuleTables(Vec<ModuleTable>),
    /// Figures of the whole up to here; a later one replaces it.
    State(State),
}

/// Values that are new in the tables of a trace, behind those that were there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the tables of a trace, by the names that they have there")]
pub struct Definitions {
    pub regions: Vec<Region>,
    pub operations: Vec<Operation>,
    pub writes: Vec<Write>,
    pub sites: Vec<Site>,
    pub python: Vec<Vec<PythonFrame>>,
    pub native: Vec<Vec<NativeFrame>>,
}

impl Definitions {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.regions.len()
            + self.operations.len()
            + self.writes.len()
            + self.sites.len()
            + self.python.len()
            + self.native.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a fault was part of, found out after it had been handed on.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Amendment {
    /// Number of the fault, from 0 on.
    pub fault: u64,
    /// Position of its operation.
    pub operation: u32,
    /// Number of its garbage collection; `None` = as it was.
    pub collection: Option<u32>,
}

/// Figures of the whole.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct State {
    /// The trace has ended, and everything was handed on.
    pub closed: bool,
    /// Nanoseconds since the start.
    pub duration: u64,
    /// CPU time of cowtrace's own threads, nanoseconds.
    pub own_cpu_ns: u64,
    /// Part of it until the command ran.
    pub setup_ns: u64,
    /// CPU time inside the traced program's faults, nanoseconds.
    pub probe_ns: u64,
    /// What was lost.
    pub losses: Vec<Loss>,
}

/// The pieces of a finished trace.
#[must_use]
pub fn of(trace: &Trace) -> Vec<Piece> {
    let definitions = Definitions {
        regions: trace.regions.values().to_vec(),
        operations: trace.operations.values().to_vec(),
        writes: trace.writes.values().to_vec(),
        sites: trace.sites.values().to_vec(),
        python: trace.python.values().to_vec(),
        native: trace.native.values().to_vec(),
    };
    let generations = |collection: &Collection| (collection.number, collection.generation);
    let Summary { tool_cpu_ns, probe_ns, setup_ns, duration, .. } = trace.summary;
    vec![
        Piece::Header(Box::new(trace.header.clone())),
        Piece::Definitions(Box::new(definitions)),
        Piece::Processes(trace.processes.iter().cloned().enumerate().collect()),
        Piece::Faults(trace.faults.clone()),
        Piece::Generations(trace.collections.iter().map(generations).collect()),
        Piece::ModuleTables(trace.module_tables.clone()),
        Piece::State(State {
            closed: true,
            duration,
            own_cpu_ns: tool_cpu_ns.saturating_sub(probe_ns),
            setup_ns,
            probe_ns,
            losses: trace.losses.clone(),
        }),
    ]
}
