//! What the kernel program decided, corrected by what only the mappings tell. Stage 6: pure.
//!
//! A page of hugetlbfs is copied without an allocation that a tracepoint tells of: it comes from a pool. What tells a copy
//! from a page that is made writable in place is the flush of the old translation, which only a copy needs
//! (<https://github.com/torvalds/linux/blob/v6.18/mm/hugetlb.c>, `hugetlb_wp`).

use cowtrace_ebpf::event::{Fault, flag};
use cowtrace_ebpf::outcome::{ERROR_PRESENT, ERROR_WRITE, Outcome};

use crate::page::PageSize;
use crate::process::hugetlb;
use crate::process::maps::Mapping;
use crate::record::schema;

/// What a fault was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    /// What the kernel did.
    pub outcome: Outcome,
    /// Bytes that were copied.
    pub bytes: u64,
}

/// The mapping that holds a fault's address, as far as it decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kind {
    /// Writes go to other processes.
    shared: bool,
    /// Bytes of its pages, if they are hugetlbfs's.
    huge: Option<u64>,
}

/// What a fault was on a machine with such pages, given the mapping that holds its address. `flushes`: flushes of translations
/// are seen.
///
/// Without an allocation or a counter the kernel program cannot tell a page of a shared mapping that becomes writable
/// again from a private page whose last owner writes it: that takes the mapping.
#[must_use]
pub fn classify(fault: &Fault, mapping: Option<&Mapping>, flushes: bool, pages: PageSize) -> Classified {
    let kind = mapping.map_or_else(Kind::default, |mapping| Kind {
        shared: mapping.shared,
        huge: hugetlb::page_size(mapping),
    });
    of_kind(fault, kind, flushes, pages)
}

fn of_kind(fault: &Fault, kind: Kind, flushes: bool, pages: PageSize) -> Classified {
    let decided = Outcome::from_number(fault.outcome).unwrap_or(Outcome::Other);
    let (write, present) = (fault.error & ERROR_WRITE != 0, fault.error & ERROR_PRESENT != 0);
    let nothing = |outcome| Classified { outcome, bytes: 0 };
    match (decided, kind) {
        (Outcome::Reuse, Kind { shared: true, .. }) => nothing(Outcome::SharedWrite),
        (Outcome::Reuse, Kind { huge: Some(bytes), .. }) if fault.flags & flag::FLUSHED != 0 => {
            Classified { outcome: Outcome::Copy, bytes }
        }
        // It cannot be told from a copy.
        (Outcome::Reuse, Kind { huge: Some(_), .. }) if !flushes => nothing(Outcome::Other),
        // The kernel counts no resident pages of hugetlbfs, so its program has seen nothing at all.
        (Outcome::Other, Kind { shared, huge: Some(_) }) if !present && fault.flags & flag::THREADED == 0 => {
            nothing(match (write, shared) {
                (true, true) => Outcome::SharedWrite,
                (false, true) => Outcome::Read,
                (_, false) => Outcome::ZeroFill,
            })
        }
        // Neither does it see that the kernel's own access has succeeded.
        (Outcome::Failed, Kind { huge: Some(_), .. }) if fault.flags & flag::KERNEL_MODE != 0 && !present => {
            nothing(Outcome::Other)
        }
        (outcome @ (Outcome::Copy | Outcome::FileCopy), _) => {
            Classified { outcome, bytes: pages.together(fault.order) }
        }
        (outcome, _) => nothing(outcome),
    }
}

/// Faults of one process whose outcome was corrected in the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Corrected {
    /// How many.
    pub faults: u64,
    /// What they copied.
    pub bytes: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    const HUGE: u64 = 2 << 20;

    /// What only the mapping tells.
    #[test]
    fn by_mapping() {
        let protected = ERROR_WRITE | ERROR_PRESENT;
        let (shared, huge) = (Kind { shared: true, huge: None }, Kind { shared: false, huge: Some(HUGE) });
        let both = Kind { shared: true, ..huge };
        for (what, decided, error, flags, kind, flushes, outcome, bytes) in [
            ("last owner", Outcome::Reuse, protected, 0, Kind::default(), true, Outcome::Reuse, 0),
            ("shared file", Outcome::Reuse, protected, 0, shared, false, Outcome::SharedWrite, 0),
            (
                "a flush alone",
                Outcome::Reuse,
                protected,
                flag::FLUSHED,
                Kind::default(),
                true,
                Outcome::Reuse,
                0,
            ),
            ("huge copy", Outcome::Reuse, protected, flag::FLUSHED, huge, true, Outcome::Copy, HUGE),
            ("huge reuse", Outcome::Reuse, protected, 0, huge, true, Outcome::Reuse, 0),
            ("not told apart", Outcome::Reuse, protected, 0, huge, false, Outcome::Other, 0),
            ("huge, shared", Outcome::Reuse, protected, 0, both, true, Outcome::SharedWrite, 0),
            ("huge, fresh", Outcome::Other, ERROR_WRITE, 0, huge, false, Outcome::ZeroFill, 0),
            ("huge, fresh and shared", Outcome::Other, ERROR_WRITE, 0, both, false, Outcome::SharedWrite, 0),
            ("two threads", Outcome::Other, ERROR_WRITE, flag::THREADED, huge, true, Outcome::Other, 0),
            ("system call", Outcome::Failed, ERROR_WRITE, flag::KERNEL_MODE, huge, true, Outcome::Other, 0),
            ("signal", Outcome::Failed, ERROR_WRITE, 0, huge, true, Outcome::Failed, 0),
            ("copy", Outcome::Copy, protected, 0, Kind::default(), true, Outcome::Copy, 4 * 4096),
        ] {
            let fault = Fault { outcome: decided as u8, error, flags, order: 2, ..Fault::default() };
            let classified = of_kind(&fault, kind, flushes, PageSize::SMALLEST);
            assert_eq!(classified, Classified { outcome, bytes }, "{what}");
        }
    }

    /// A copied page has the machine's size, and one of hugetlbfs its own.
    #[test]
    fn pages_have_the_size_of_the_machine() {
        for (shift, order, bytes) in
            [(12, 0, 4096), (14, 0, 16384), (16, 0, 65536), (14, 11, 32 << 20), (16, 3, 512 << 10)]
        {
            let pages = PageSize::of_shift(shift);
            let fault = Fault { outcome: Outcome::Copy as u8, error: 7, order, ..Fault::default() };
            let classified = of_kind(&fault, Kind::default(), true, pages);
            assert_eq!(classified, Classified { outcome: Outcome::Copy, bytes }, "{shift} {order}");
            let fault =
                Fault { outcome: Outcome::Reuse as u8, error: 7, flags: flag::FLUSHED, ..Fault::default() };
            let huge = Kind { shared: false, huge: Some(2 << 20) };
            assert_eq!(of_kind(&fault, huge, true, pages).bytes, 2 << 20, "{shift}");
        }
    }
}
