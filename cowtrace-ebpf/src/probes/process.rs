//! The tree (`include/trace/events/sched.h`).

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use crate::{
    maps::config,
    read,
    tree::{self, Task},
};

// TP_PROTO(struct task_struct *p): after `sched_process_fork`, by the same parent and before the child can run. Interrupts are off
// here, so that nothing can come between, whatever the kernel may preempt.
#[raw_tracepoint(tracepoint = "sched_wakeup_new")]
fn sched_wakeup_new(context: RawTracePointContext) -> i32 {
    tree::forked(&context, Task(read::current_task()), Task(context.arg(0)));
    0
}

// TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn sched_process_exec(context: RawTracePointContext) -> i32 {
    let name = tree::field::<u64>(context.arg(2), config!(bprm_filename));
    tree::executed(&context, Task(context.arg(0)), context.arg::<u64>(1) as u32, name);
    0
}

// TP_PROTO(struct task_struct *p, bool group_dead), before Linux 6.16 without the second
#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn sched_process_exit(context: RawTracePointContext) -> i32 {
    tree::exited(&context, Task(context.arg(0)));
    0
}

// TP_PROTO(struct task_struct *p)
#[raw_tracepoint(tracepoint = "sched_process_free")]
fn sched_process_free(context: RawTracePointContext) -> i32 {
    tree::freed(Task(context.arg(0)));
    0
}
