//! What a kernel that preempts does to programs, and which of them it does nothing to.
//!
//! A kernel lets a program of a trampoline or of a raw tracepoint run once on a CPU at a time
//! (`__bpf_prog_enter_recur`, <https://github.com/torvalds/linux/blob/v6.18/kernel/bpf/trampoline.c>; `__bpf_trace_run`,
//! <https://github.com/torvalds/linux/blob/v6.18/kernel/trace/bpf_trace.c>). While a task is preempted in the midst of one, it leaves
//! it out for all other tasks of the CPU, and says so nowhere. Programs of kprobes, and of the records that tracepoints
//! write, are not preempted.

use std::fs;

use cowtrace_ebpf::config::Config;

use super::fields::has_records;
use super::rung::{Means, Rung, Tracepoints, Way};

/// Where the list of tracepoints with their numbers is, one that has to be there for another.
const NUMBERS: [&str; 2] = [
    "/sys/kernel/tracing/events/kmem/mm_page_alloc/id",
    "/sys/kernel/debug/tracing/events/kmem/mm_page_alloc/id",
];

const NO_RECORDS: &str = "Copies may count as `reuse`, and forked processes' ends may be missed: this kernel preempts the programs \
     of raw tracepoints, and tracefs, by which others could be used, cannot be read.";
const TRAMPOLINES: &str = "Faults may be missed: this kernel preempts the programs of trampolines (`--rung kprobe` is not preempted).";
const TABLES: &str = "A few faults may be missed, and are counted nowhere: those that come while cowtrace itself is preempted in a \
     system call for one of its tables.";
const REAL_TIME: &str = "Copies may count as `reuse`: this kernel (PREEMPT_RT) preempts also what holds a spinlock, and leaves probes \
     out meanwhile.";

/// What the running kernel says of itself.
#[derive(Clone, Debug)]
pub struct Preemption {
    /// `uname -v`.
    version: String,
    /// `uname -r`.
    release: String,
}

impl Preemption {
    /// Of the running kernel.
    #[must_use]
    pub fn running() -> Self {
        let version = fs::read_to_string("/proc/sys/kernel/version").unwrap_or_default();
        Self { version, release: super::release() }
    }

    /// Whether the kernel may preempt a task that is in the kernel, as far as it was built for that: `PREEMPT`, `PREEMPT_LAZY`,
    /// `PREEMPT_RT`, or `PREEMPT_DYNAMIC`, which is any of them by choice, in what `uname -v` says
    /// (<https://github.com/torvalds/linux/blob/v6.18/init/Makefile>).
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.version.contains("PREEMPT")
    }

    /// Whether that goes for programs of raw tracepoints: since 7.0, and nothing else in a kernel tells of it
    /// (<https://github.com/torvalds/linux/commit/a46023d5616e>).
    fn of_tracepoints(&self) -> bool {
        let major = self.release.split('.').next().and_then(|major| major.parse::<u32>().ok());
        self.is_there() && major.is_some_and(|major| major >= 7)
    }

    /// How tracepoints are best used here.
    #[must_use]
    pub fn tracepoints(&self, config: &Config) -> Tracepoints {
        let usable = || has_records(config) && NUMBERS.iter().any(|path| fs::read_to_string(path).is_ok());
        if self.of_tracepoints() && usable() { Tracepoints::Records } else { Tracepoints::Raw }
    }

    /// What a trace may lack here by these means, each a sentence.
    #[must_use]
    pub fn lacks(&self, means: Means) -> Vec<&'static str> {
        let is_trampoline = means.rung == Rung::Functions(Way::Trampolines);
        let by_kprobes = means.rung == Rung::Functions(Way::Kprobes);
        let rows = [
            (self.is_there() && is_trampoline, TRAMPOLINES),
            (self.of_tracepoints() && means.tracepoints == Tracepoints::Raw, NO_RECORDS),
            (self.is_there() && (by_kprobes || means.tracepoints == Tracepoints::Records), TABLES),
            (self.of_tracepoints() && self.version.contains("PREEMPT_RT"), REAL_TIME),
        ];
        rows.into_iter().filter_map(|(holds, sentence)| holds.then_some(sentence)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(release: &str, version: &str) -> Preemption {
        Preemption { version: version.to_owned(), release: release.to_owned() }
    }

    #[test]
    fn old_kernels_and_those_that_do_not_preempt_lack_nothing() {
        let best = Means { rung: Rung::Base, tracepoints: Tracepoints::Raw };
        let trampolines = Means { rung: Rung::Functions(Way::Trampolines), ..best };
        for (release, version) in
            [("6.18.44", "#1 SMP PREEMPT_DYNAMIC"), ("7.2.1", "#1 SMP Debian"), ("odd", "PREEMPT")]
        {
            let kernel = kernel(release, version);
            assert!(kernel.lacks(best).is_empty(), "{release}");
            assert_eq!(
                kernel.lacks(trampolines).len(),
                usize::from(version.contains("PREEMPT")),
                "{release}"
            );
            assert_eq!(kernel.tracepoints(&Config::default()), Tracepoints::Raw);
        }
    }

    #[test]
    fn new_ones_that_preempt_need_records() {
        let raw = Means { rung: Rung::Functions(Way::Kprobes), tracepoints: Tracepoints::Raw };
        let records = Means { tracepoints: Tracepoints::Records, ..raw };
        let lazy = kernel("7.2.12+deb14-cloud-amd64", "#1 SMP PREEMPT_LAZY Debian 7.2.12-1");
        assert_eq!(lazy.lacks(raw), [NO_RECORDS, TABLES]);
        assert_eq!(lazy.lacks(records), [TABLES]);
        assert_eq!(lazy.lacks(Means { rung: Rung::Base, ..raw }), [NO_RECORDS]);
        assert_eq!(kernel("8.0.0", "#1 SMP PREEMPT_RT").lacks(records), [TABLES, REAL_TIME]);
        for sentence in [NO_RECORDS, TRAMPOLINES, TABLES, REAL_TIME] {
            assert!(sentence.ends_with('.') && !sentence.contains("  "), "{sentence}");
        }
    }
}
