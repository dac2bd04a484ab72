//! Records into the ring buffer; what does not fit is counted by reason.
#![expect(unsafe_code, reason = "a record is handed to the kernel as bytes")]

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE};
use cowtrace_ebpf::{drops::DropReason, event::Header};

use crate::{maps, read};

/// Whether userspace is woken for a record.
#[derive(Clone, Copy)]
pub(crate) enum Wake {
    /// It looks at the ring often enough by itself; waking it would cost the traced program a microsecond.
    No,
    /// It has to act on this one.
    Yes,
}

/// The start of a record.
#[inline(always)]
pub(crate) fn header(kind: u16, len: usize, time: u64) -> Header {
    Header { kind, cpu: read::cpu(), len: len as u32, time }
}

/// Writes the first `len` bytes of a record; `false` = dropped and counted.
#[inline(always)]
pub(crate) fn record<T>(record: &T, len: usize, wake: Wake, reason: DropReason) -> bool {
    let flags = match wake {
        Wake::No => u64::from(BPF_RB_NO_WAKEUP),
        Wake::Yes => u64::from(BPF_RB_FORCE_WAKEUP),
    };
    let len = if len > size_of::<T>() { size_of::<T>() } else { len };
    // SAFETY: len is at most the size of the plain data that `record` refers to.
    let bytes = unsafe { core::slice::from_raw_parts(core::ptr::from_ref(record).cast::<u8>(), len) };
    if maps::RING.output::<[u8]>(bytes, flags).is_ok() {
        return true;
    }
    dropped(reason);
    false
}

/// Counts something that was dropped.
#[inline(always)]
pub(crate) fn dropped(reason: DropReason) {
    if let Some(count) = maps::drops(reason as u32) {
        *count += 1;
    }
}

/// Whether more than one part in so many of the ring is waiting to be read.
#[inline(always)]
pub(crate) fn fuller_than(part: u64) -> bool {
    let waiting = maps::RING.query(u64::from(BPF_RB_AVAIL_DATA));
    let size = maps::RING.query(u64::from(BPF_RB_RING_SIZE));
    waiting > size / part
}
