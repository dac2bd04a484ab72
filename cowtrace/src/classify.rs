//! What the kernel program decided, corrected by what only the mappings tell. Stage 6: pure.

use cowtrace_ebpf::event::Fault;
use cowtrace_ebpf::outcome::Outcome;

use crate::process::maps::Mapping;
use crate::record::schema;

/// Bytes of a page of order 0.
const PAGE: u64 = 4096;

/// The outcome of a fault, given the mapping that holds its address.
///
/// Without an allocation or a counter the kernel program cannot tell a page of a shared mapping that becomes writable
/// again from a private page whose last owner writes it: that takes the mapping.
#[must_use]
pub fn outcome(fault: &Fault, mapping: Option<&Mapping>) -> Outcome {
    match Outcome::from_number(fault.outcome).unwrap_or(Outcome::Other) {
        Outcome::Reuse if mapping.is_some_and(|mapping| mapping.shared) => Outcome::SharedWrite,
        outcome => outcome,
    }
}

/// Bytes that were copied.
#[must_use]
pub fn copied_bytes(fault: &Fault, outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Copy | Outcome::FileCopy => PAGE << (fault.order & 31),
        Outcome::Reuse
        | Outcome::ZeroFill
        | Outcome::SharedWrite
        | Outcome::Read
        | Outcome::SwapIn
        | Outcome::Other
        | Outcome::Failed => 0,
    }
}

/// The outcome in the record's words.
#[must_use]
pub const fn recorded(outcome: Outcome) -> schema::Outcome {
    match outcome {
        Outcome::Copy => schema::Outcome::Copy,
        Outcome::FileCopy => schema::Outcome::FileCopy,
        Outcome::Reuse => schema::Outcome::Reuse,
        Outcome::ZeroFill => schema::Outcome::ZeroFill,
        Outcome::SharedWrite => schema::Outcome::SharedWrite,
        Outcome::Read => schema::Outcome::Read,
        Outcome::SwapIn => schema::Outcome::SwapIn,
        Outcome::Other => schema::Outcome::Other,
        Outcome::Failed => schema::Outcome::Failed,
    }
}
