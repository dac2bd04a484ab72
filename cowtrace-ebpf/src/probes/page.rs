//! What happens inside a fault (`include/trace/events/kmem.h`, `signal.h`, `tlb.h`).

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use cowtrace_ebpf::config::FUNCTIONS;

use crate::{call, fault, maps::config};

/// A page was allocated: of interest if it may be one for user memory. `page` is whatever stands for it when it is freed.
#[inline(always)]
pub(super) fn allocated(page: u64, order: u32, flags: u32) {
    // Only pages for user memory are movable, and they are allocated where waiting is allowed; page tables, the page
    // cache's writes and interrupts' buffers are told apart by this, before anything is looked up.
    // A page that is to stay where it is (`FOLL_LONGTERM`: io_uring's buffers, RDMA) is not asked for as a movable one, but still
    // as one for a user; outside of the kernel's handler others are, too.
    let movable = config!(gfp_movable);
    let kinds = if config!(flags) & FUNCTIONS != 0 { movable | config!(gfp_highmem) } else { movable };
    let user =
        flags & kinds != 0 && flags & config!(gfp_direct_reclaim) != 0 && flags & config!(gfp_never) == 0;
    if user {
        fault::allocated(page, order, flags & config!(gfp_zero) != 0);
    }
}

// TP_PROTO(struct page *page, unsigned int order, gfp_t gfp_flags, int migratetype)
#[raw_tracepoint(tracepoint = "mm_page_alloc")]
fn mm_page_alloc(context: RawTracePointContext) -> i32 {
    let page = context.arg::<u64>(0);
    if page != 0 {
        allocated(page, context.arg::<u64>(1) as u32, context.arg::<u64>(2) as u32);
    }
    0
}

// TP_PROTO(struct page *page, unsigned int order)
#[raw_tracepoint(tracepoint = "mm_page_free")]
fn mm_page_free(context: RawTracePointContext) -> i32 {
    fault::freed(context.arg(0));
    0
}

// TP_PROTO(struct mm_struct *mm, int member)
#[raw_tracepoint(tracepoint = "rss_stat")]
fn rss_stat(context: RawTracePointContext) -> i32 {
    fault::counter_changed(context.arg(0), context.arg::<u64>(1) as u32);
    0
}

/// `SIGBUS` and `SIGSEGV` on x86 and arm64.
const REFUSALS: [u32; 2] = [7, 11];

// TP_PROTO(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)
#[raw_tracepoint(tracepoint = "signal_generate")]
fn signal_generate(context: RawTracePointContext) -> i32 {
    let signal = context.arg::<u64>(0) as u32;
    if REFUSALS.contains(&signal) {
        fault::refused();
        if config!(flags) & FUNCTIONS != 0 {
            let _ = call::signalled(signal, context.arg(1));
        }
    }
    0
}

/// `TLB_LOCAL_MM_SHOOTDOWN` (`include/linux/mm_types.h`): by the thread itself, of its own memory.
const LOCAL: u64 = 3;

// TP_PROTO(int reason, unsigned long pages)
#[raw_tracepoint(tracepoint = "tlb_flush")]
fn tlb_flush(context: RawTracePointContext) -> i32 {
    if context.arg::<u64>(0) == LOCAL {
        fault::flushed();
    }
    0
}
