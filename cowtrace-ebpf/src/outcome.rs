//! What the kernel did about one page fault, and how the kernel program decides it.
//!
//! The decision is a pure function of what was seen between a fault's entry and the thread's next one, so that it can
//! be tested on the host. Facts about the kernel's fault handler are from Linux 6.18 `mm/memory.c`:
//! <https://github.com/torvalds/linux/blob/v6.18/mm/memory.c>.

/// The page was present (bit 0 of x86's page-fault error code): a protection fault, not a missing page.
pub const ERROR_PRESENT: u32 = 1;
/// The access was a write (bit 1).
pub const ERROR_WRITE: u32 = 2;
/// The access was made in user mode (bit 2).
pub const ERROR_USER: u32 = 4;

macro_rules! outcomes {
    ($($variant:ident = $number:literal, $name:literal, $about:literal;)*) => {
        /// What the kernel did about one page fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Outcome { $(#[doc = $about] $variant = $number,)* }

        impl Outcome {
            /// Every outcome, in the order of its number.
            pub const ALL: &'static [Outcome] = &[$(Outcome::$variant,)*];

            /// The name used in every report and export.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Outcome::$variant => $name,)* }
            }

            /// One sentence on what it means.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Outcome::$variant => $about,)* }
            }

            /// The outcome with this number; `None` for a number that was never given.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Outcome> {
                match number { $($number => Some(Outcome::$variant),)* _ => None }
            }
        }
    };
}

outcomes! {
    Copy = 0, "copy", "The old page's content was copied to a new page.";
    FileCopy = 1, "file_copy", "A private file mapping's page was copied from the page cache.";
    Reuse = 2, "reuse", "The page was write-protected but had no other owner left: made writable, not copied.";
    ZeroFill = 3, "zero_fill", "First content of an anonymous page, the shared zero page included.";
    SharedWrite = 4, "shared_write", "A page of a shared mapping was made writable or mapped for writing.";
    Read = 5, "read", "A page of a file was mapped for reading.";
    SwapIn = 6, "swap_in", "The page came back from swap.";
    Other = 7, "other", "None of the others: another thread had already dealt with it, or the kernel tried again.";
    Failed = 8, "failed", "The access was refused: a signal, or an error to the system call.";
}

/// Number of outcomes, the length of every array that is indexed by an outcome's number.
pub const OUTCOMES: usize = Outcome::ALL.len();

impl Outcome {
    /// Whether a fault with this outcome is listed without being asked for.
    #[must_use]
    pub const fn is_listed(self) -> bool {
        matches!(self, Outcome::Copy | Outcome::FileCopy | Outcome::Reuse)
    }
}

/// `mm_counter` indices of Linux (`include/linux/mm_types_task.h`): which resident-set counter changed.
pub mod rss {
    /// Pages of files (`MM_FILEPAGES`).
    pub const FILE: u32 = 1 << 0;
    /// Anonymous pages (`MM_ANONPAGES`).
    pub const ANON: u32 = 1 << 1;
    /// Swap entries (`MM_SWAPENTS`).
    pub const SWAP: u32 = 1 << 2;
    /// Pages of shared memory (`MM_SHMEMPAGES`).
    pub const SHMEM: u32 = 1 << 3;
}

/// What was seen while one fault was being handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Bits of x86's page-fault error code: the constants above.
    pub error: u32,
    /// A movable page was allocated for it and not given back.
    pub allocated: bool,
    /// It was allocated, then freed again: somebody else had changed the entry meanwhile.
    pub undone: bool,
    /// The allocation asked for a zeroed page.
    pub zeroed: bool,
    /// Order of the allocated page: its bytes are [`crate::page::PageSize::together`] by it.
    pub order: u8,
    /// Resident-set counters that changed, bits of [`rss`].
    pub rss: u32,
    /// A page was allocated after the one that came back from swap: that one is shared, and was copied at once.
    pub copied_back: bool,
    /// The kernel answered with a signal, or page faults were switched off.
    pub refused: bool,
    /// Another thread of the process may have dealt with the page meanwhile.
    pub threaded: bool,
    /// The handler's own answer was seen: what it refused is in `refused`.
    pub answered: bool,
}

/// Decides what the kernel did from what was seen.
///
/// | case | allocation | counters |
/// |---|---|---|
/// | write, present: copy | not zeroed | none |
/// | write, present: private file page | not zeroed | file and anon |
/// | write, present: zero page | zeroed (`wp_page_copy` asks `folio_prealloc` for a zeroed page) | anon |
/// | write, present: huge zero page | not zeroed, cleared later | anon |
/// | write, absent: private file page | not zeroed (`do_cow_fault`) | anon |
/// | write, absent: anonymous page | zeroed, or a large one cleared later | anon |
/// | write, absent: swapped out, shared | one behind the counters (`do_swap_page` ends in `do_wp_page`) | anon and swap |
#[must_use]
pub const fn decide(seen: &Seen) -> Outcome {
    let file = seen.rss & (rss::FILE | rss::SHMEM) != 0;
    let anon = seen.rss & rss::ANON != 0;
    if seen.refused {
        return Outcome::Failed;
    }
    if seen.rss & rss::SWAP != 0 {
        let copied = seen.copied_back && !seen.undone && seen.error & ERROR_WRITE != 0;
        return if copied { Outcome::Copy } else { Outcome::SwapIn };
    }
    if seen.error & ERROR_WRITE == 0 {
        return if file {
            Outcome::Read
        } else if seen.error & ERROR_PRESENT == 0 {
            Outcome::ZeroFill
        } else {
            Outcome::Other
        };
    }
    if seen.error & ERROR_PRESENT != 0 {
        return match (seen.allocated, seen.undone, seen.zeroed) {
            (true, _, true) => Outcome::ZeroFill,
            (true, _, false) if file => Outcome::FileCopy,
            // Of another process's page it is not known whether it was there.
            (true, _, false) if anon && seen.order == 0 => Outcome::FileCopy,
            (true, _, false) if anon => Outcome::ZeroFill,
            (true, _, false) => Outcome::Copy,
            (false, true, _) => Outcome::Other,
            (false, false, _) if file => Outcome::SharedWrite,
            (false, false, _) => Outcome::Reuse,
        };
    }
    match (file, anon) {
        (_, true) if seen.allocated && !seen.zeroed && seen.order == 0 => Outcome::FileCopy,
        (_, true) => Outcome::ZeroFill,
        (true, false) => Outcome::SharedWrite,
        // The kernel's own access has no signal: it ends with an error to the system call. Nobody else was there to
        // map the page, and yet nothing was done for it.
        (false, false) if seen.error & ERROR_USER == 0 && !seen.threaded && !seen.answered => Outcome::Failed,
        (false, false) => Outcome::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: u32 = ERROR_WRITE | ERROR_USER;
    const PROTECTED: u32 = ERROR_PRESENT | ERROR_WRITE | ERROR_USER;
    const SEEN: Seen = Seen {
        error: PROTECTED,
        allocated: true,
        undone: false,
        zeroed: false,
        order: 0,
        rss: 0,
        copied_back: false,
        refused: false,
        threaded: false,
        answered: false,
    };

    /// The cases of the table at `decide`, as they were observed on Linux 6.18.
    #[test]
    fn decides_each_case() {
        for (name, seen, outcome) in [
            ("anonymous page shared by fork", SEEN, Outcome::Copy),
            ("kernel mode", Seen { error: 3, ..SEEN }, Outcome::Copy),
            ("last owner", Seen { allocated: false, ..SEEN }, Outcome::Reuse),
            ("lost the race", Seen { allocated: false, undone: true, ..SEEN }, Outcome::Other),
            ("file page after a read", Seen { rss: rss::FILE | rss::ANON, ..SEEN }, Outcome::FileCopy),
            ("zero page", Seen { zeroed: true, rss: rss::ANON, ..SEEN }, Outcome::ZeroFill),
            ("huge zero page", Seen { order: 9, rss: rss::ANON, ..SEEN }, Outcome::ZeroFill),
            ("fresh page", Seen { error: WRITE, zeroed: true, rss: rss::ANON, ..SEEN }, Outcome::ZeroFill),
            ("fresh huge page", Seen { error: WRITE, order: 9, rss: rss::ANON, ..SEEN }, Outcome::ZeroFill),
            ("file page, first touch", Seen { error: WRITE, rss: rss::ANON, ..SEEN }, Outcome::FileCopy),
            ("shared memory", Seen { error: WRITE, rss: rss::SHMEM, ..SEEN }, Outcome::SharedWrite),
            (
                "shared file",
                Seen { error: WRITE, allocated: false, rss: rss::FILE, ..SEEN },
                Outcome::SharedWrite,
            ),
            ("library's text", Seen { error: 4, allocated: false, rss: rss::FILE, ..SEEN }, Outcome::Read),
            ("zero page, read", Seen { error: 4, allocated: false, ..SEEN }, Outcome::ZeroFill),
            ("swap", Seen { error: WRITE, rss: rss::ANON | rss::SWAP, ..SEEN }, Outcome::SwapIn),
            (
                "swap, shared",
                Seen { error: WRITE, rss: rss::ANON | rss::SWAP, copied_back: true, ..SEEN },
                Outcome::Copy,
            ),
            (
                "swap, shared, read ahead",
                Seen { error: 4, rss: rss::ANON | rss::SWAP, copied_back: true, ..SEEN },
                Outcome::SwapIn,
            ),
            (
                "system call, no access",
                Seen { error: ERROR_WRITE, allocated: false, ..SEEN },
                Outcome::Failed,
            ),
            (
                "system call, somebody else was faster",
                Seen { error: ERROR_WRITE, allocated: false, answered: true, ..SEEN },
                Outcome::Other,
            ),
            (
                "another's file page, first touch",
                Seen { error: 3, rss: rss::ANON, ..SEEN },
                Outcome::FileCopy,
            ),
            (
                "another's shared file",
                Seen { error: 3, allocated: false, rss: rss::FILE, ..SEEN },
                Outcome::SharedWrite,
            ),
            ("no access", Seen { error: WRITE, allocated: false, refused: true, ..SEEN }, Outcome::Failed),
        ] {
            assert_eq!(decide(&seen), outcome, "{name}");
        }
    }

    /// Numbers are what recordings and maps hold: they may not move.
    #[test]
    fn numbers_stay() {
        for (number, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(Outcome::from_number(number as u8), Some(*outcome));
        }
        assert_eq!(Outcome::from_number(OUTCOMES as u8), None);
    }
}
