//! The beginning of a fault, on x86 (`arch/x86/include/asm/trace/exceptions.h`).

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use crate::fault::{self, Entry};

#[inline(always)]
fn entry(context: &RawTracePointContext, kernel_mode: bool) -> Entry {
    Entry {
        address: context.arg(0),
        registers: context.arg(1),
        error: context.arg::<u64>(2) as u32,
        kernel_mode,
        flags: 0,
        memory: 0,
    }
}

// TP_PROTO(unsigned long address, struct pt_regs *regs, unsigned long error_code)
#[raw_tracepoint(tracepoint = "page_fault_user")]
fn page_fault_user(context: RawTracePointContext) -> i32 {
    fault::begin(&entry(&context, false));
    0
}

// TP_PROTO(unsigned long address, struct pt_regs *regs, unsigned long error_code)
#[raw_tracepoint(tracepoint = "page_fault_kernel")]
fn page_fault_kernel(context: RawTracePointContext) -> i32 {
    fault::begin(&entry(&context, true));
    0
}
