//! How faults are seen: as exceptions, by tracepoints, or as calls of the kernel's own handler, by trampolines or kprobes.
//!
//! Which of them a kernel has is found by loading and attaching, never by its version.

use cowtrace_ebpf::config::{ABSENT, Config};

/// A way to see faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// The tracepoints of x86's exceptions. Any kernel from 5.8 on has them.
    Base,
    /// Entry and return of the kernel's function.
    Functions(Way),
}

/// How a function is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `fentry` and `fexit`: the cheaper one.
    Trampolines,
    /// `kprobe` and `kretprobe`.
    Kprobes,
}

/// How a tracepoint is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracepoints {
    /// By its arguments, before anything is done with them: the cheaper way.
    Raw,
    /// By the record that the kernel writes of it for its own tracing, where [`super::preemption`] asks for that.
    Records,
}

/// How a trace sees what happens in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// How faults are seen.
    pub rung: Rung,
    /// How those tracepoints are used of which both are possible.
    pub tracepoints: Tracepoints,
}

/// What the user may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever sees most.
    #[default]
    Best,
    /// This one alone.
    Only(Rung),
    /// Functions, by whichever way works.
    Functions,
}

/// What tracepoints of exceptions do not see.
const BASE_BLIND: &str =
    "get_user_pages writes (ptrace, process_vm_writev, O_DIRECT, io_uring) raise no fault.";
/// What calls of the handler do not show.
const FUNCTIONS_BLIND: &str =
    "Accesses of the kernel itself to what a process has not mapped, or may not access, count nowhere.";
/// What is missing where memory does not say whose it is.
const NO_OWNER: &str = "Writes by ptrace or process_vm_writev to the memory of another process are not seen: this kernel \
     was built without CONFIG_MEMCG.";

impl Rung {
    /// Its name in the header of a trace, and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Functions(_) => "functions",
        }
    }

    /// What it does not see on a kernel with these fields, each a sentence.
    #[must_use]
    pub fn blind(self, config: &Config) -> Vec<&'static str> {
        match self {
            Self::Base => vec![BASE_BLIND],
            Self::Functions(_) if config.memory_owner == ABSENT => vec![FUNCTIONS_BLIND, NO_OWNER],
            Self::Functions(_) => vec![FUNCTIONS_BLIND],
        }
    }
}

impl Way {
    /// Both, the cheaper one first.
    pub const ALL: [Self; 2] = [Self::Trampolines, Self::Kprobes];

    /// The kernel's word for a program at the entry or at the return of a function.
    #[must_use]
    pub const fn word(self, returns: bool) -> &'static str {
        match (self, returns) {
            (Self::Trampolines, false) => "fentry",
            (Self::Trampolines, true) => "fexit",
            (Self::Kprobes, false) => "kprobe",
            (Self::Kprobes, true) => "kretprobe",
        }
    }
}

impl Wanted {
    /// The ways to try in their order, and whether the base rung will do when none of them works.
    ///
    /// A kernel that preempts loses faults by trampolines (see [`super::preemption`]): there they are used only if kprobes do not work
    /// and functions are asked for, or if they themselves are.
    #[must_use]
    pub fn order(self, preemptible: bool) -> (Vec<Way>, bool) {
        let mut all = Way::ALL.to_vec();
        if preemptible {
            all.reverse();
        }
        match self {
            Self::Best if preemptible => (vec![Way::Kprobes], true),
            Self::Best => (all, true),
            Self::Only(Rung::Base) => (Vec::new(), true),
            Self::Only(Rung::Functions(way)) => (vec![way], false),
            Self::Functions => (all, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_comes_first() {
        assert_eq!(Wanted::Best.order(false), (vec![Way::Trampolines, Way::Kprobes], true));
        assert_eq!(Wanted::Best.order(true), (vec![Way::Kprobes], true));
        assert_eq!(Wanted::Only(Rung::Base).order(true), (vec![], true));
        assert_eq!(Wanted::Functions.order(true), (vec![Way::Kprobes, Way::Trampolines], false));
        assert_eq!(Wanted::Functions.order(false), (vec![Way::Trampolines, Way::Kprobes], false));
    }
}
