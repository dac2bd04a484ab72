//! Where the kernel half is attached, which role each place has, and what a trace lacks without it.
//!
//! Whether a place exists is asked of the kernel's BTF, never of its version. Programs in the object are named after their
//! tracepoint, one that serves several after what they have in common.

mod table;

use super::Error;
use super::btf::Btf;
use super::rung::{Means, Rung, Tracepoints};

pub use table::{FLUSHES, HOOKS};

/// Software events at the end of a fault, by the number that `perf_event_open` takes:
/// <https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/perf_event.h>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftwareEvent {
    /// `PERF_COUNT_SW_PAGE_FAULTS_MIN`: no input was needed.
    MinorFaults,
    /// `PERF_COUNT_SW_PAGE_FAULTS_MAJ`: the page was read from a disk.
    MajorFaults,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// Raw tracepoint; the kernel has to give it at least this many arguments.
    RawTracepoint {
        /// Name of the tracepoint.
        tracepoint: &'static str,
        /// Arguments that the program reads.
        arguments: u32,
    },
    /// Tracepoint by its record.
    Record {
        /// The folder of tracefs that it is in.
        category: &'static str,
        /// Name of the tracepoint.
        tracepoint: &'static str,
        /// With the folder, as `perf` writes it.
        full: &'static str,
    },
    /// Software event with period 1, on every CPU.
    PerfEvent(SoftwareEvent),
    /// A function, at its entry or its return; programs are named after the way that they are attached by.
    Function {
        /// Its names, the first that the kernel has is taken: functions are renamed, and compilers give parts of them names.
        symbols: &'static [&'static str],
        /// How many parameters it has: with another number it is another function.
        parameters: u32,
        /// At the return.
        returns: bool,
    },
}

/// When a hook is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Always; there is no trace without it.
    Required,
    /// Always, if the kernel has it.
    Optional,
    /// When latencies are asked for.
    Latency,
    /// When there are pages of hugetlbfs.
    Hugetlb,
}

/// One place to attach to.
#[derive(Debug)]
pub struct Hook {
    /// What is learned there.
    pub role: &'static str,
    /// Name of the program in the object.
    pub program: &'static str,
    /// Where and how.
    pub attach: Attach,
    /// Where faults are seen in one way only.
    pub rung: Option<Kind>,
    /// Where there is another one that uses the same tracepoint in the other way.
    pub by: Option<Tracepoints>,
    /// When.
    pub need: Need,
    /// What the trace lacks without it, a sentence.
    pub without: &'static str,
}

/// The ways to see faults, as far as hooks differ by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Rung::Base`].
    Base,
    /// [`Rung::Functions`].
    Functions,
}

impl Hook {
    /// Its name: the tracepoint, the perf event as `perf` calls it, the function.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.attach {
            Attach::RawTracepoint { tracepoint, .. } => tracepoint,
            Attach::Record { full, .. } => full,
            Attach::PerfEvent(SoftwareEvent::MinorFaults) => "minor-faults",
            Attach::PerfEvent(SoftwareEvent::MajorFaults) => "major-faults",
            Attach::Function { symbols, returns: false, .. } => symbols[0],
            Attach::Function { returns: true, .. } => self.program,
        }
    }

    /// Whether it is used by these means.
    #[must_use]
    pub fn serves(&self, means: Means) -> bool {
        let on_rung = match (self.rung, means.rung) {
            (None, _) | (Some(Kind::Base), Rung::Base) | (Some(Kind::Functions), Rung::Functions(_)) => true,
            (Some(_), _) => false,
        };
        on_rung && self.by.is_none_or(|by| by == means.tracepoints)
    }
}

/// Which hooks to attach on this kernel, and what the trace will lack.
#[derive(Clone, Debug)]
pub struct Selection {
    /// In the order of [`HOOKS`].
    pub attach: Vec<&'static Hook>,
    /// Hooks that the kernel does not have, optional ones all.
    pub missing: Vec<&'static Hook>,
}

/// Whether a kernel with these types has the place.
#[must_use]
pub fn is_present(btf: &Btf, hook: &Hook) -> bool {
    match hook.attach {
        Attach::RawTracepoint { tracepoint, arguments } => {
            btf.tracepoint_arguments(tracepoint).is_some_and(|has| has >= arguments)
        }
        Attach::Record { tracepoint, .. } => btf.tracepoint_arguments(tracepoint).is_some(),
        Attach::PerfEvent(_) => true,
        Attach::Function { symbols, parameters, .. } => symbol(btf, symbols, parameters).is_some(),
    }
}

/// The first of a function's names that the kernel has, with so many parameters.
#[must_use]
pub fn symbol(btf: &Btf, symbols: &[&'static str], parameters: u32) -> Option<&'static str> {
    symbols.iter().copied().find(|name| btf.function_parameters(name) == Some(parameters))
}

/// Whether a kernel with these types has the functions that faults are calls of.
#[must_use]
pub fn has_functions(btf: &Btf) -> bool {
    HOOKS.iter().filter(|hook| hook.rung == Some(Kind::Functions)).all(|hook| is_present(btf, hook))
}

/// Chooses from [`HOOKS`]: with those that tell the time inside faults, with those that pages of hugetlbfs need.
///
/// # Errors
/// If the kernel lacks a required one.
pub fn select(btf: &Btf, means: Means, latency: bool, hugetlb: bool) -> Result<Selection, Error> {
    let mut selection = Selection { attach: Vec::new(), missing: Vec::new() };
    let is_wanted = |hook: &&Hook| match hook.need {
        Need::Required | Need::Optional => true,
        Need::Latency => latency,
        Need::Hugetlb => hugetlb,
    };
    for hook in HOOKS.iter().filter(|hook| hook.serves(means)).filter(is_wanted) {
        match (is_present(btf, hook), hook.need) {
            (true, _) => selection.attach.push(hook),
            (false, Need::Required) => return Err(Error::NoTracepoint(hook.name())),
            (false, Need::Optional | Need::Latency | Need::Hugetlb) => selection.missing.push(hook),
        }
    }
    Ok(selection)
}

#[cfg(test)]
mod tests {
    use super::super::rung::Way;
    use super::*;

    #[test]
    fn every_row_is_whole() {
        for hook in HOOKS {
            assert!(hook.without.ends_with('.') && !hook.role.ends_with('.'), "{}", hook.name());
            assert_eq!(
                HOOKS.iter().filter(|other| other.name() == hook.name()).count(),
                1,
                "{}",
                hook.name()
            );
        }
        let order = |rung, tracepoints| -> Vec<_> {
            HOOKS.iter().filter(|hook| hook.serves(Means { rung, tracepoints })).map(Hook::name).collect()
        };
        let base = order(Rung::Base, Tracepoints::Raw);
        assert_eq!(base[base.len() - 2..], ["page_fault_kernel", "page_fault_user"]);
        let functions = order(Rung::Functions(Way::Kprobes), Tracepoints::Raw);
        assert_eq!(functions[functions.len() - 2..], ["handler_return", "handle_mm_fault"]);
        assert!(!functions.iter().any(|name| base[base.len() - 4..].contains(name)), "{functions:?}");
        let records = order(Rung::Base, Tracepoints::Records);
        let bare = |name: &&str| name.rsplit(':').next().unwrap_or_default().to_owned();
        assert_eq!(records.iter().map(bare).collect::<Vec<_>>(), base, "in the same order");
        assert_eq!(records.iter().filter(|name| name.contains(':')).count(), 4, "{records:?}");
    }

    /// Needs x86-64 and a kernel with BTF.
    #[test]
    fn the_running_kernel_has_every_hook() {
        let bytes = std::fs::read(super::super::btf::KERNEL);
        let Some(bytes) = bytes.ok().filter(|_| cfg!(target_arch = "x86_64")) else {
            println!("SKIPPED: this kernel does not describe its types, or is not for x86-64");
            return;
        };
        let btf = Btf::parse(bytes).unwrap();
        let raw = |rung| Means { rung, tracepoints: Tracepoints::Raw };
        let without = select(&btf, raw(Rung::Base), false, false).unwrap();
        assert!(without.missing.is_empty());
        assert!(without.attach.iter().all(|hook| hook.program != "fault_end"));
        let count = |rung, latency, hugetlb| select(&btf, raw(rung), latency, hugetlb).unwrap().attach.len();
        assert_eq!(count(Rung::Base, false, true), without.attach.len() + 1);
        assert_eq!(count(Rung::Base, true, true), HOOKS.len() - 6);
        let functions = Rung::Functions(Way::Trampolines);
        assert_eq!(count(functions, false, false), without.attach.len());
        assert_eq!(count(functions, true, false), without.attach.len(), "it knows the end of a fault");
        assert!(has_functions(&btf));
    }
}
