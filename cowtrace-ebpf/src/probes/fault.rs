//! The beginning of a fault, on x86 (`arch/x86/include/asm/trace/exceptions.h`).

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use crate::fault::{self, Entry};

/// For both of the tracepoints, `page_fault_user` and `page_fault_kernel`: a program is verified once, however often it is attached,
/// and this one takes the kernel longer than all others together.
// TP_PROTO(unsigned long address, struct pt_regs *regs, unsigned long error_code)
#[raw_tracepoint(tracepoint = "page_fault_user")]
fn page_fault(context: RawTracePointContext) -> i32 {
    fault::begin(&Entry {
        address: context.arg(0),
        registers: context.arg(1),
        error: context.arg::<u64>(2) as u32,
        kernel_mode: false,
        flags: 0,
        memory: 0,
    });
    0
}
