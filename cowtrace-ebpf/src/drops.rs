//! Why something that should have been recorded was not. One number per reason, never reused.

macro_rules! reasons {
    ($($variant:ident = $number:literal, $stage:literal, $about:literal;)*) => {
        /// Why the kernel program dropped something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum DropReason { $(#[doc = $about] $variant = $number,)* }

        impl DropReason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];

            /// The stage's name in every report and export.
            #[must_use]
            pub const fn stage(self) -> &'static str {
                match self { $(DropReason::$variant => $stage,)* }
            }

            /// What was lost, in one sentence.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(DropReason::$variant => $about,)* }
            }
        }
    };
}

reasons! {
    Ring = 0, "ring", "A fault's details: the ring buffer was full. It is in the totals.";
    RingDefinition = 1, "ring_definition", "A stack, code object, type or name: the ring buffer was full; it is sent again when next met.";
    RingLifecycle = 2, "ring_lifecycle", "A fork, exec or exit: the ring buffer was full.";
    ThreadTable = 3, "thread_table", "A thread could not be followed: the kernel's table of threads was full.";
    ProcessTable = 4, "process_table", "A process could not be followed: the kernel's table of processes was full.";
    NativeStack = 5, "native_stack", "The callers of a fault's native code: more stacks that were not known yet came than are copied. Its innermost function is recorded.";
}

/// Number of reasons, the length of the counters' array.
pub const DROP_REASONS: usize = DropReason::ALL.len();
