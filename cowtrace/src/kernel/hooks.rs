//! Where the kernel half is attached, which role each place has, and what a trace lacks without it.
//!
//! Whether a place exists is asked of the kernel's BTF, never of its version. Programs in the object are named after their
//! tracepoint.

use super::Error;
use super::btf::Btf;
use super::rung::{Means, Rung, Tracepoints};

/// Software events at the end of a fault, by the number that `perf_event_open` takes:
/// <https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/perf_event.h>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftwareEvent {
    /// `PERF_COUNT_SW_PAGE_FAULTS_MIN`: no input was needed.
    MinorFaults,
    /// `PERF_COUNT_SW_PAGE_FAULTS_MAJ`: the page was read from a disk.
    MajorFaults,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// Raw tracepoint; the kernel has to give it at least this many arguments.
    RawTracepoint {
        /// Name of the tracepoint.
        tracepoint: &'static str,
        /// Arguments that the program reads.
        arguments: u32,
    },
    /// Tracepoint by its record.
    Record {
        /// The folder of tracefs that it is in.
        category: &'static str,
        /// Name of the tracepoint.
        tracepoint: &'static str,
        /// With the folder, as `perf` writes it.
        full: &'static str,
    },
    /// Software event with period 1, on every CPU.
    PerfEvent(SoftwareEvent),
    /// A function, at its entry or its return; programs are named after the way that they are attached by.
    Function {
        /// Its names, the first that the kernel has is taken: functions are renamed, and compilers give parts of them names.
        symbols: &'static [&'static str],
        /// How many parameters it has: with another number it is another function.
        parameters: u32,
        /// At the return.
        returns: bool,
    },
}

/// When a hook is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Always; there is no trace without it.
    Required,
    /// Always, if the kernel has it.
    Optional,
    /// When latencies are asked for.
    Latency,
    /// When there are pages of hugetlbfs.
    Hugetlb,
}

/// One place to attach to.
#[derive(Debug)]
pub struct Hook {
    /// What is learned there.
    pub role: &'static str,
    /// Name of the program in the object.
    pub program: &'static str,
    /// Where and how.
    pub attach: Attach,
    /// Where faults are seen in one way only.
    pub rung: Option<Kind>,
    /// Where there is another one that uses the same tracepoint in the other way.
    pub by: Option<Tracepoints>,
    /// When.
    pub need: Need,
    /// What the trace lacks without it, a sentence.
    pub without: &'static str,
}

/// The ways to see faults, as far as hooks differ by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Rung::Base`].
    Base,
    /// [`Rung::Functions`].
    Functions,
}

impl Hook {
    /// Its name: the tracepoint, the perf event as `perf` calls it, the function.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.attach {
            Attach::RawTracepoint { tracepoint, .. } => tracepoint,
            Attach::Record { full, .. } => full,
            Attach::PerfEvent(SoftwareEvent::MinorFaults) => "minor-faults",
            Attach::PerfEvent(SoftwareEvent::MajorFaults) => "major-faults",
            Attach::Function { symbols, returns: false, .. } => symbols[0],
            Attach::Function { returns: true, .. } => self.program,
        }
    }

    /// Whether it is used by these means.
    #[must_use]
    pub fn serves(&self, means: Means) -> bool {
        let on_rung = match (self.rung, means.rung) {
            (None, _) | (Some(Kind::Base), Rung::Base) | (Some(Kind::Functions), Rung::Functions(_)) => true,
            (Some(_), _) => false,
        };
        on_rung && self.by.is_none_or(|by| by == means.tracepoints)
    }

    /// The one of the two that uses the tracepoint's arguments.
    const fn raw(self) -> Self {
        Self { by: Some(Tracepoints::Raw), ..self }
    }

    /// The other one of the two: its record's place in tracefs, and the program for it.
    const fn record(&self, place: Attach, program: &'static str) -> Self {
        let &Self { role, rung, need, without, .. } = self;
        Self { role, program, attach: place, rung, by: Some(Tracepoints::Records), need, without }
    }
}

const fn tracepoint(
    tracepoint: &'static str,
    arguments: u32,
    need: Need,
    role: &'static str,
    without: &'static str,
) -> Hook {
    let attach = Attach::RawTracepoint { tracepoint, arguments };
    Hook { role, program: tracepoint, attach, rung: None, by: None, need, without }
}

/// The tracepoint of a kind of exception.
const fn exception(tracepoint: &'static str, role: &'static str, without: &'static str) -> Hook {
    let attach = Attach::RawTracepoint { tracepoint, arguments: 3 };
    Hook {
        role,
        program: tracepoint,
        attach,
        rung: Some(Kind::Base),
        by: None,
        need: Need::Required,
        without,
    }
}

/// `vm_fault_t handle_mm_fault(struct vm_area_struct *, unsigned long address, unsigned int flags, struct pt_regs *)`, since 5.9:
/// <https://github.com/torvalds/linux/commit/bce617edecad>.
const fn handler(program: &'static str, returns: bool, role: &'static str, without: &'static str) -> Hook {
    let attach = Attach::Function { symbols: &["handle_mm_fault"], parameters: 4, returns };
    Hook { role, program, attach, rung: Some(Kind::Functions), by: None, need: Need::Required, without }
}

const fn end(event: SoftwareEvent, role: &'static str) -> Hook {
    Hook {
        role,
        program: "fault_end",
        attach: Attach::PerfEvent(event),
        rung: Some(Kind::Base),
        by: None,
        need: Need::Latency,
        without: "The time inside each fault is not known.",
    }
}

const EXEC: Hook = tracepoint(
    "sched_process_exec",
    3,
    Need::Required,
    "a process runs another program",
    "Programs that a process executes are taken for the one before.",
)
.raw();
const EXIT: Hook = tracepoint(
    "sched_process_exit",
    1,
    Need::Required,
    "a thread ends",
    "Faults of threads that have ended are not counted.",
)
.raw();
const FREED: Hook = tracepoint(
    "mm_page_free",
    2,
    Need::Optional,
    "a page allocated in a fault was given back",
    "A copy that the kernel gave up half-way counts as one.",
)
.raw();
const ALLOCATED: Hook =
    tracepoint("mm_page_alloc", 4, Need::Required, "a page was allocated in a fault", "Copies are not seen.")
        .raw();

/// Every hook, in the order in which they are attached: faults are seen only once everything that explains them is.
/// Tracepoints: <https://github.com/torvalds/linux/blob/v6.18/include/trace/events/sched.h>, `signal.h` and `kmem.h` beside
/// it, and <https://github.com/torvalds/linux/blob/v6.18/arch/x86/include/asm/trace/exceptions.h>.
pub static HOOKS: &[Hook] = &[
    tracepoint(
        "sched_wakeup_new",
        1,
        Need::Required,
        "a process or thread joins the tree",
        "Forked processes are not followed.",
    ),
    EXEC,
    EXEC.record(
        Attach::Record {
            category: "sched",
            tracepoint: "sched_process_exec",
            full: "sched:sched_process_exec",
        },
        "sched_process_exec_record",
    ),
    EXIT,
    EXIT.record(
        Attach::Record {
            category: "sched",
            tracepoint: "sched_process_exit",
            full: "sched:sched_process_exit",
        },
        "sched_process_exit_record",
    ),
    tracepoint(
        "sched_process_free",
        1,
        Need::Optional,
        "a thread's number can be given to another",
        "What is known of ended threads is kept until the trace ends: one with very many threads may lose some.",
    ),
    tracepoint(
        "signal_generate",
        2,
        Need::Optional,
        "an access was refused",
        "Faults that end in a signal count as `other` or `reuse` instead of `failed`.",
    ),
    tracepoint(
        "rss_stat",
        2,
        Need::Required,
        "which resident-set counter changed in a fault",
        "Copies of anonymous memory and of files are not told apart.",
    ),
    FREED,
    FREED.record(
        Attach::Record { category: "kmem", tracepoint: "mm_page_free", full: "kmem:mm_page_free" },
        "mm_page_free_record",
    ),
    ALLOCATED,
    ALLOCATED.record(
        Attach::Record { category: "kmem", tracepoint: "mm_page_alloc", full: "kmem:mm_page_alloc" },
        "mm_page_alloc_record",
    ),
    Hook {
        role: "a page of hugetlbfs was replaced in a fault",
        program: FLUSHES,
        attach: Attach::RawTracepoint { tracepoint: FLUSHES, arguments: 1 },
        rung: None,
        by: None,
        need: Need::Hugetlb,
        without: "Copies of hugetlbfs pages are not told from writes in place: both count as `other`.",
    },
    end(SoftwareEvent::MinorFaults, "a fault has ended"),
    end(SoftwareEvent::MajorFaults, "a fault that waited for a disk has ended"),
    exception(
        "page_fault_kernel",
        "the kernel touches user memory for a system call",
        "Pages that the kernel wrote for a system call are not seen.",
    ),
    exception("page_fault_user", "the program touches a page", "Faults of the program are not seen."),
    handler(
        "handler_return",
        true,
        "the kernel's fault handler returns",
        "What came of a fault is not known.",
    ),
    handler(
        "handler",
        false,
        "the kernel's fault handler is called, by an exception or by get_user_pages",
        "Faults are not seen.",
    ),
];

/// The hook that tells copies of hugetlbfs pages.
pub const FLUSHES: &str = "tlb_flush";

/// Which hooks to attach on this kernel, and what the trace will lack.
#[derive(Clone, Debug)]
pub struct Selection {
    /// In the order of [`HOOKS`].
    pub attach: Vec<&'static Hook>,
    /// Hooks that the kernel does not have, optional ones all.
    pub missing: Vec<&'static Hook>,
}

/// Whether a kernel with these types has the place.
#[must_use]
pub fn is_present(btf: &Btf, hook: &Hook) -> bool {
    match hook.attach {
        Attach::RawTracepoint { tracepoint, arguments } => {
            btf.tracepoint_arguments(tracepoint).is_some_and(|has| has >= arguments)
        }
        Attach::Record { tracepoint, .. } => btf.tracepoint_arguments(tracepoint).is_some(),
        Attach::PerfEvent(_) => true,
        Attach::Function { symbols, parameters, .. } => symbol(btf, symbols, parameters).is_some(),
    }
}

/// The first of a function's names that the kernel has, with so many parameters.
#[must_use]
pub fn symbol(btf: &Btf, symbols: &[&'static str], parameters: u32) -> Option<&'static str> {
    symbols.iter().copied().find(|name| btf.function_parameters(name) == Some(parameters))
}

/// Whether a kernel with these types has the functions that faults are calls of.
#[must_use]
pub fn has_functions(btf: &Btf) -> bool {
    HOOKS.iter().filter(|hook| hook.rung == Some(Kind::Functions)).all(|hook| is_present(btf, hook))
}

/// Chooses from [`HOOKS`]: with those that tell the time inside faults, with those that pages of hugetlbfs need.
///
/// # Errors
/// If the kernel lacks a required one.
pub fn select(btf: &Btf, means: Means, latency: bool, hugetlb: bool) -> Result<Selection, Error> {
    let mut selection = Selection { attach: Vec::new(), missing: Vec::new() };
    let is_wanted = |hook: &&Hook| match hook.need {
        Need::Required | Need::Optional => true,
        Need::Latency => latency,
        Need::Hugetlb => hugetlb,
    };
    for hook in HOOKS.iter().filter(|hook| hook.serves(means)).filter(is_wanted) {
        match (is_present(btf, hook), hook.need) {
            (true, _) => selection.attach.push(hook),
            (false, Need::Required) => return Err(Error::NoTracepoint(hook.name())),
            (false, Need::Optional | Need::Latency | Need::Hugetlb) => selection.missing.push(hook),
        }
    }
    Ok(selection)
}

#[cfg(test)]
mod tests {
    use super::super::rung::Way;
    use super::*;

    #[test]
    fn every_row_is_whole() {
        for hook in HOOKS {
            assert!(hook.without.ends_with('.') && !hook.role.ends_with('.'), "{}", hook.name());
            assert_eq!(
                HOOKS.iter().filter(|other| other.name() == hook.name()).count(),
                1,
                "{}",
                hook.name()
            );
        }
        let order = |rung, tracepoints| -> Vec<_> {
            HOOKS.iter().filter(|hook| hook.serves(Means { rung, tracepoints })).map(Hook::name).collect()
        };
        let base = order(Rung::Base, Tracepoints::Raw);
        assert_eq!(base[base.len() - 2..], ["page_fault_kernel", "page_fault_user"]);
        let functions = order(Rung::Functions(Way::Kprobes), Tracepoints::Raw);
        assert_eq!(functions[functions.len() - 2..], ["handler_return", "handle_mm_fault"]);
        assert!(!functions.iter().any(|name| base[base.len() - 4..].contains(name)), "{functions:?}");
        let records = order(Rung::Base, Tracepoints::Records);
        let bare = |name: &&str| name.rsplit(':').next().unwrap_or_default().to_owned();
        assert_eq!(records.iter().map(bare).collect::<Vec<_>>(), base, "in the same order");
        assert_eq!(records.iter().filter(|name| name.contains(':')).count(), 4, "{records:?}");
    }

    /// Needs x86-64 and a kernel with BTF.
    #[test]
    fn the_running_kernel_has_every_hook() {
        let bytes = std::fs::read(super::super::btf::KERNEL);
        let Some(bytes) = bytes.ok().filter(|_| cfg!(target_arch = "x86_64")) else {
            println!("SKIPPED: this kernel does not describe its types, or is not for x86-64");
            return;
        };
        let btf = Btf::parse(bytes).unwrap();
        let raw = |rung| Means { rung, tracepoints: Tracepoints::Raw };
        let without = select(&btf, raw(Rung::Base), false, false).unwrap();
        assert!(without.missing.is_empty());
        assert!(without.attach.iter().all(|hook| hook.program != "fault_end"));
        let count = |rung, latency, hugetlb| select(&btf, raw(rung), latency, hugetlb).unwrap().attach.len();
        assert_eq!(count(Rung::Base, false, true), without.attach.len() + 1);
        assert_eq!(count(Rung::Base, true, true), HOOKS.len() - 6);
        let functions = Rung::Functions(Way::Trampolines);
        assert_eq!(count(functions, false, false), without.attach.len());
        assert_eq!(count(functions, true, false), without.attach.len(), "it knows the end of a fault");
        assert!(has_functions(&btf));
    }
}
