//! The one edge back into the kernel: which process to follow, and how to walk an image's frames. And the totals.

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray},
};
use bytemuck::Zeroable as _;
use cowtrace_ebpf::{
    drops::DropReason,
    native::{TEMPLATES, Template},
    plan::{MAX_PLANS, PLANS, Plan},
    state::{
        ASSIGNED, ASSIGNMENTS, Assignment, DROPS, PROCESSES, Process, ProcessKey, SESSION, Session, THREADS,
        Thread, pending,
    },
};

use super::{
    BpfError,
    pod::{AssignmentPod, KeyPod, PlanPod, ProcessPod, SessionPod, TemplatePod, ThreadPod},
};

/// The kernel program's tables.
pub struct Control {
    processes: HashMap<MapData, KeyPod, ProcessPod>,
    threads: HashMap<MapData, u32, ThreadPod>,
    session: Array<MapData, SessionPod>,
    drops: PerCpuArray<MapData, u64>,
}

/// The part of the tables that tells the kernel how to walk frames.
pub struct Plans {
    plans: Array<MapData, PlanPod>,
    assignments: HashMap<MapData, u64, AssignmentPod>,
    assigned: Array<MapData, u64>,
    known: Vec<Plan>,
    count: u64,
}

pub(super) fn map<T: TryFrom<aya::maps::Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, BpfError> {
    let map = ebpf.take_map(name).ok_or(BpfError::NoMap { name })?;
    T::try_from(map).map_err(|source| BpfError::Map { name, source })
}

impl Control {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, BpfError> {
        Ok(Self {
            processes: map(ebpf, PROCESSES)?,
            threads: map(ebpf, THREADS)?,
            session: map(ebpf, SESSION)?,
            drops: map(ebpf, DROPS)?,
        })
    }

    /// Follows a process that has one thread and does not run yet.
    ///
    /// # Errors
    /// The map refuses the entry.
    pub fn follow(&mut self, key: ProcessKey) -> Result<(), BpfError> {
        let process = Process { threads: 1, image: key.start, ..Process::zeroed() };
        let mut thread = Thread { process: key, start: key.start, ..Thread::zeroed() };
        thread.fault.process = key;
        thread.fault.tid = key.pid;
        self.processes
            .insert(KeyPod(key), ProcessPod(process), 0)
            .map_err(|source| BpfError::Map { name: PROCESSES, source })?;
        self.threads
            .insert(key.pid, ThreadPod(thread), 0)
            .map_err(|source| BpfError::Map { name: THREADS, source })
    }

    /// Lists faults from the start, for memory may be shared already. To be called before the probes are attached.
    ///
    /// # Errors
    /// The map refuses the entry.
    pub fn shared_from_the_start(&mut self) -> Result<(), BpfError> {
        let session = Session { forked: 1, ..Session::zeroed() };
        self.session.set(0, SessionPod(session), 0).map_err(|source| BpfError::Map { name: SESSION, source })
    }

    /// The entry of a process; `None` = it is not in the table.
    #[must_use]
    pub fn process(&self, key: ProcessKey) -> Option<Process> {
        self.processes.get(&KeyPod(key), 0).ok().map(|pod| pod.0)
    }

    /// Whether the process's main thread still has its slot, so that totals may still move.
    #[must_use]
    pub fn has_thread(&self, key: ProcessKey) -> bool {
        self.threads.get(&key.pid, 0).is_ok_and(|pod| pod.0.process == key)
    }

    /// Takes a process that is gone out of the table.
    pub fn forget(&mut self, key: ProcessKey) -> Option<Process> {
        let process = self.process(key)?;
        self.processes.remove(&KeyPod(key)).ok()?;
        Some(process)
    }

    /// What the threads hold that are still there: totals, and the fault that each had last. Only right when the probes
    /// are detached.
    #[must_use]
    pub fn threads(&self) -> Vec<Thread> {
        self.threads.iter().filter_map(|entry| entry.ok().map(|(_, pod)| pod.0)).collect()
    }

    /// The entries of all processes.
    #[must_use]
    pub fn processes(&self) -> Vec<(ProcessKey, Process)> {
        self.processes.iter().filter_map(|entry| entry.ok().map(|(key, pod)| (key.0, pod.0))).collect()
    }

    /// Whether the tree has forked.
    #[must_use]
    pub fn has_forked(&self) -> bool {
        self.session.get(&0, 0).is_ok_and(|pod| pod.0.forked != 0)
    }

    /// What the kernel program dropped: reason, CPU, count; a row for each, zeros too.
    #[must_use]
    pub fn drops(&self) -> Vec<(DropReason, u32, u64)> {
        let mut rows = Vec::new();
        for &reason in DropReason::ALL {
            if let Ok(values) = self.drops.get(&(reason as u32), 0) {
                rows.extend(values.iter().zip(0u32..).map(|(&count, cpu)| (reason, cpu, count)));
            }
        }
        rows
    }
}

impl Plans {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, BpfError> {
        Ok(Self {
            plans: map(ebpf, PLANS)?,
            assignments: map(ebpf, ASSIGNMENTS)?,
            assigned: map(ebpf, ASSIGNED)?,
            known: vec![Plan::zeroed()],
            count: 0,
        })
    }

    /// Index of a plan in the kernel's table, where it is put if it is new.
    ///
    /// # Errors
    /// The table is full, or the map refuses the entry.
    pub fn plan(&mut self, plan: &Plan) -> Result<u32, BpfError> {
        let known = self.known.iter().position(|other| other == plan);
        let index = known.unwrap_or(self.known.len());
        let index =
            u32::try_from(index).ok().filter(|&index| index < MAX_PLANS).ok_or(BpfError::TooManyPlans)?;
        if known.is_none() {
            self.plans
                .set(index, PlanPod(*plan), 0)
                .map_err(|source| BpfError::Map { name: PLANS, source })?;
            self.known.push(*plan);
        }
        Ok(index)
    }

    /// Tells the kernel which interpreter an image runs; it asks at the next fault or fork of each process that has it.
    ///
    /// # Errors
    /// The map refuses the entry.
    pub fn assign(&mut self, image: u64, assignment: Assignment) -> Result<(), BpfError> {
        self.assignments
            .insert(image, AssignmentPod(assignment), 0)
            .map_err(|source| BpfError::Map { name: ASSIGNMENTS, source })?;
        self.count += 1;
        self.assigned.set(0, self.count, 0).map_err(|source| BpfError::Map { name: ASSIGNED, source })
    }
}

/// The table of native stacks that the kernel knows.
pub struct Templates {
    templates: HashMap<MapData, u64, TemplatePod>,
}

impl Templates {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, BpfError> {
        Ok(Self { templates: map(ebpf, TEMPLATES)? })
    }

    /// Tells the kernel what a stack is known by.
    ///
    /// # Errors
    /// The map refuses the entry.
    pub fn put(&mut self, key: u64, template: &Template) -> Result<(), BpfError> {
        self.templates
            .insert(key, TemplatePod(*template), 0)
            .map_err(|source| BpfError::Map { name: TEMPLATES, source })
    }
}

/// Whether a thread's slot holds a fault that has not been written.
#[must_use]
pub fn has_pending(thread: &Thread) -> bool {
    thread.pending & pending::FAULT != 0
}
