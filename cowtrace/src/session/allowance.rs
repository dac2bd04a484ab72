//! How much memory cowtrace may have, and what it does not keep beyond that: the traced program must not run out of memory
//! because somebody looks at it.

use std::collections::{BTreeMap, HashMap};

use cowtrace_ebpf::event::Fault;
use cowtrace_ebpf::outcome::OUTCOMES;
use cowtrace_ebpf::state::{ProcessKey, Totals};
use procfs::Current as _;

use crate::record::schema::Loss;

/// The stage's name in every report and export.
pub(super) const STAGE: &str = "memory";

/// Faults between two looks at how much memory there is.
const FAULTS: u32 = 1024;

/// Half of the machine's memory, in whole MiB: what cowtrace may have when nobody says otherwise. Without a limit where the
/// kernel does not tell.
pub(super) fn by_default() -> u64 {
    procfs::Meminfo::current().map_or(u64::MAX, |memory| (memory.mem_total / 2) & !((1 << 20) - 1))
}

/// The third thread's account of it.
pub(super) struct Allowance {
    most: u64,
    /// Faults until the next look.
    until: u32,
    over: bool,
    pub(super) dropped: Dropped,
}

/// Faults that were not kept: they are in the kernel's totals.
#[derive(Default)]
pub(super) struct Dropped {
    processes: HashMap<ProcessKey, [u64; OUTCOMES]>,
    cpus: BTreeMap<u16, u64>,
}

impl Allowance {
    /// So many bytes.
    pub(super) fn new(most: u64) -> Self {
        Self { most, until: 0, over: false, dropped: Dropped::default() }
    }

    /// Whether there is no room for a fault, which is counted then.
    pub(super) fn refuses(&mut self, fault: &Fault) -> bool {
        self.refuses_at(fault, own)
    }

    fn refuses_at(&mut self, fault: &Fault, own: impl Fn() -> u64) -> bool {
        if self.until == 0 {
            self.until = FAULTS;
            self.over = own() >= self.most;
        }
        self.until -= 1;
        if self.over {
            self.dropped.add(fault);
        }
        self.over
    }
}

impl Dropped {
    fn add(&mut self, fault: &Fault) {
        let lost = self.processes.entry(fault.process).or_default();
        if let Some(count) = lost.get_mut(usize::from(fault.outcome)) {
            *count += 1;
        }
        *self.cpus.entry(fault.header.cpu).or_default() += 1;
    }

    /// Counts them as lost, by process.
    pub(super) fn count(&self, totals: &mut HashMap<ProcessKey, Totals>) {
        for (key, dropped) in &self.processes {
            let Some(totals) = totals.get_mut(key) else { continue };
            for (lost, dropped) in totals.lost.iter_mut().zip(dropped) {
                *lost += dropped;
            }
        }
    }

    /// The stage's rows: by CPU, one at least.
    pub(super) fn losses(&self) -> Vec<Loss> {
        let row = |cpu: u16, count| Loss { stage: STAGE.to_owned(), cpu: cpu.into(), count };
        match self.cpus.is_empty() {
            true => vec![row(0, 0)],
            false => self.cpus.iter().map(|(&cpu, &count)| row(cpu, count)).collect(),
        }
    }
}

/// Bytes of memory that cowtrace has for itself; the ring buffer, which it shares with the kernel, is not among them.
fn own() -> u64 {
    let statm = procfs::process::Process::myself().and_then(|process| process.statm());
    statm.map_or(0, |statm| statm.resident.saturating_sub(statm.shared) * procfs::page_size())
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use cowtrace_ebpf::outcome::Outcome;

    use super::*;

    #[test]
    fn what_is_refused_is_counted() {
        let mut allowance = Allowance::new(1000);
        let mut fault = Fault::zeroed();
        fault.process.pid = 7;
        fault.header.cpu = 3;
        fault.outcome = Outcome::Reuse as u8;
        for _ in 0..FAULTS {
            assert!(!allowance.refuses_at(&fault, || 999));
        }
        assert!(allowance.refuses_at(&fault, || 1000) && allowance.refuses_at(&fault, || 0));
        let mut totals = HashMap::from([(fault.process, Totals::zeroed())]);
        allowance.dropped.count(&mut totals);
        assert_eq!(totals[&fault.process].lost[Outcome::Reuse as usize], 2);
        assert_eq!(allowance.dropped.losses(), [Loss { stage: STAGE.to_owned(), cpu: 3, count: 2 }]);
        assert_eq!(Allowance::new(0).dropped.losses()[0].count, 0);
    }

    #[test]
    fn its_own_memory_is_known() {
        assert!(own() > 0);
        assert!(by_default() > 1 << 20);
    }
}
