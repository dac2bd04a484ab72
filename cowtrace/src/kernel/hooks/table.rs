//! The hooks, a row for each.

use super::super::rung::Tracepoints;
use super::{Attach, Hook, Kind, Need, SoftwareEvent};

impl Hook {
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

/// The tracepoint of a kind of exception: one program for all of them.
const fn exception(tracepoint: &'static str, role: &'static str, without: &'static str) -> Hook {
    let attach = Attach::RawTracepoint { tracepoint, arguments: 3 };
    Hook {
        role,
        program: "page_fault",
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
