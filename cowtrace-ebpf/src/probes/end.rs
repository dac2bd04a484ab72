//! The end of a fault, by the software events that the kernel counts there. Attached only for `--latency`.

use aya_ebpf::{macros::perf_event, programs::PerfEventContext};

use crate::fault;

#[perf_event]
fn fault_end(_context: PerfEventContext) -> i32 {
    fault::ended();
    0
}
