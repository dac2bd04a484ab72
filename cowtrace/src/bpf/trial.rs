//! Whether the kernel lets functions be attached to: by trying it with the smaller one of the programs.

use std::thread;

use aya::{Ebpf, EbpfLoader};
use cowtrace_ebpf::state::RING;

use super::attach::{Functions, Refused};
use super::{BpfError, load, words};
use crate::arch;
use crate::kernel;
use crate::kernel::btf::Btf;
use crate::kernel::hooks::{Attach, HOOKS, Hook, has_functions};
use crate::kernel::preemption::Preemption;
use crate::kernel::rung::{Rung, Wanted, Way};

/// The best rung that is wanted and works here.
///
/// # Errors
/// None of those that are wanted works.
pub fn choose(types: &Btf, wanted: Wanted) -> Result<Rung, kernel::Error> {
    let (ways, base) = wanted.order(Preemption::running().is_there());
    let mut reasons = Vec::new();
    if !ways.is_empty() && has_functions(types) {
        // In a thread of its own: the kernel's types take tens of megabytes for a moment, which the C library then keeps for the
        // threads that come later.
        let tried = thread::scope(|scope| scope.spawn(|| first_that_works(&ways, &mut reasons)).join());
        if let Ok(Some(way)) = tried {
            return Ok(Rung::Functions(way));
        }
    } else {
        reasons.push("it has no such function".to_owned());
    }
    without_functions(base, !ways.is_empty(), arch::knows().exceptions, reasons.join("; "))
}

/// What there is where no function can be attached to: the base rung, if it is wanted and the machine's kernels have it. `tried`:
/// functions were wanted, and why they cannot be attached to is known.
fn without_functions(base: bool, tried: bool, exceptions: bool, why: String) -> Result<Rung, kernel::Error> {
    match (base, exceptions) {
        (true, true) => Ok(Rung::Base),
        (true, false) if tried => Err(kernel::Error::NoFaults(why)),
        (true, false) => Err(kernel::Error::NoExceptions),
        (false, true) => Err(kernel::Error::NoFunctions(why)),
        (false, false) => Err(kernel::Error::NoFaults(why)),
    }
}

/// The first way that the kernel lets the return of the fault handler be attached to, which is let go of again; why those before
/// it do not work goes into `reasons`.
fn first_that_works(ways: &[Way], reasons: &mut Vec<String>) -> Option<Way> {
    let mut ebpf = match object() {
        Ok(ebpf) => ebpf,
        Err(error) => {
            reasons.push(words(error));
            return None;
        }
    };
    for &way in ways {
        let Err(error) = works(way, &mut ebpf) else { return Some(way) };
        let reason = format!("{}: {}", way.word(false), words(error));
        log::info!("not by {reason}");
        reasons.push(reason);
    }
    None
}

/// The object with as little room as there can be: no record is ever written.
fn object() -> Result<Ebpf, BpfError> {
    let mut loader = EbpfLoader::new();
    loader.btf(None).map_max_entries(RING, 4096);
    for map in load::TABLES {
        loader.map_max_entries(map, 1);
    }
    loader.load(load::OBJECT).map_err(BpfError::Load)
}

fn works(way: Way, ebpf: &mut Ebpf) -> Result<(), BpfError> {
    let symbols = |hook: &&'static Hook| match hook.attach {
        Attach::Function { symbols, returns: true, .. } => Some((hook.program, symbols)),
        _ => None,
    };
    // A table without such a row is no reason to believe that it works.
    let found = HOOKS.iter().find_map(|hook| symbols(&hook));
    let (program, symbols) = found.ok_or(BpfError::NoProgram { program: "handler" })?;
    let functions = Functions::new(way)?;
    functions.attach(ebpf, symbols, true).map(drop).map_err(|refused| match refused {
        Refused::NoProgram => BpfError::NoProgram { program },
        Refused::By(source) => BpfError::Attach { probe: way.word(true), source: Box::new(source) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Notice;

    /// What is said where faults can be seen in no way, or not in the one that was asked for.
    #[test]
    fn a_kernel_without_any_way_is_told_of_rightly() {
        let said = |base, tried, exceptions| {
            let why = "fentry: EPERM".to_owned();
            without_functions(base, tried, exceptions, why).map_err(|error| Notice::from(error).to_string())
        };
        assert_eq!(said(true, true, true), Ok(Rung::Base));
        assert_eq!(said(true, false, true), Ok(Rung::Base));
        let x86 = said(false, true, true).unwrap_err();
        assert!(x86.contains("fentry: EPERM") && x86.contains("without `--rung functions`"), "{x86}");
        for base in [true, false] {
            let arm = said(base, true, false).unwrap_err();
            assert!(arm.contains("fentry: EPERM") && arm.contains("CONFIG_KPROBES"), "{arm}");
            assert!(!arm.contains("x86-64 of version") && !arm.contains("--rung"), "{arm}");
        }
        let base = said(true, false, false).unwrap_err();
        assert!(base.contains("leave out `--rung base`"), "{base}");
    }
}
