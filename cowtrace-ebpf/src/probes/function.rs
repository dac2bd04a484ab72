//! The kernel's fault handler as a function (`include/linux/mm.h`): twice, by trampolines and by kprobes, of which a kernel may
//! have either.
//!
//! What a trampoline hands over is read as memory: the verifier takes an argument's type for a promise that it is not null. So is
//! what a kprobe does: it is registers, and one object serves every kind of machine.

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use crate::{
    call::{self, Call},
    read, registers,
};

// vm_fault_t handle_mm_fault(struct vm_area_struct *vma, unsigned long address, unsigned int flags, struct pt_regs *regs)
#[fentry(function = "handle_mm_fault")]
fn handler_fentry(context: FEntryContext) -> i32 {
    if let Some([area, address, flags, registers]) = read::kernel::<[u64; 4]>(context.as_ptr() as u64) {
        call::begin(&Call { area, address, flags: flags as u32, registers });
    }
    0
}

#[fexit(function = "handle_mm_fault")]
fn handler_fexit(context: FExitContext) -> i32 {
    // Behind the arguments.
    if let Some(returned) = read::kernel::<u64>(context.as_ptr() as u64 + 32) {
        call::end(returned as u32);
    }
    0
}

#[kprobe]
fn handler_kprobe(context: ProbeContext) -> u32 {
    if let Some([area, address, flags, registers]) = registers::arguments(context.as_ptr() as u64) {
        call::begin(&Call { area, address, flags: flags as u32, registers });
    }
    0
}

#[kretprobe]
fn handler_kretprobe(context: RetProbeContext) -> u32 {
    if let Some(returned) = registers::returned(context.as_ptr() as u64) {
        call::end(returned as u32);
    }
    0
}
