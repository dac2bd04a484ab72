//! Whether the kernel lets functions be attached to: by trying it with the smaller one of the programs.

use std::thread;

use aya::EbpfLoader;
use cowtrace_ebpf::state::RING;

use super::attach::{Functions, Refused};
use super::{BpfError, load, words};
use crate::kernel;
use crate::kernel::btf::Btf;
use crate::kernel::hooks::{Attach, HOOKS, Hook, has_functions};
use crate::kernel::rung::{Rung, Wanted, Way};

/// The best rung that is wanted and works here.
///
/// # Errors
/// None of those that are wanted works.
pub fn choose(types: &Btf, wanted: Wanted) -> Result<Rung, kernel::Error> {
    let (ways, base) = wanted.order(kernel::is_preemptible());
    let mut reasons = Vec::new();
    for way in ways {
        if !has_functions(types) {
            reasons.push("it has no such function".to_owned());
            break;
        }
        match apart(way) {
            Ok(()) => return Ok(Rung::Functions(way)),
            Err(error) => {
                let reason = format!("{}: {error}", way.word(false));
                log::info!("not by {reason}");
                reasons.push(reason);
            }
        }
    }
    if base { Ok(Rung::Base) } else { Err(kernel::Error::NoFunctions(reasons.join("; "))) }
}

/// Tries a way in a thread of its own: the kernel's types take tens of megabytes for a moment, which the C library keeps for the
/// threads that come later instead of beside what they need. The error is in words.
fn apart(way: Way) -> Result<(), String> {
    thread::scope(|scope| scope.spawn(|| works(way).map_err(words)).join())
        .unwrap_or_else(|_| Err("trying it panicked".to_owned()))
}

/// Attaches to the return of the fault handler in a way, and lets go of it again.
fn works(way: Way) -> Result<(), BpfError> {
    let symbols = |hook: &&'static Hook| match hook.attach {
        Attach::Function { symbols, returns: true, .. } => Some((hook.program, symbols)),
        _ => None,
    };
    // A table without such a row is no reason to believe that it works.
    let found = HOOKS.iter().find_map(|hook| symbols(&hook));
    let (program, symbols) = found.ok_or(BpfError::NoProgram { program: "handler" })?;
    let functions = Functions::new(way)?;
    let mut loader = EbpfLoader::new();
    // No record is ever written.
    loader.map_max_entries(RING, 4096);
    for map in load::TABLES {
        loader.map_max_entries(map, 1);
    }
    let mut ebpf = loader.load(load::OBJECT).map_err(BpfError::Load)?;
    functions.attach(&mut ebpf, symbols, true).map(drop).map_err(|refused| match refused {
        Refused::NoProgram => BpfError::NoProgram { program },
        Refused::By(source) => BpfError::Attach { probe: way.word(true), source: Box::new(source) },
    })
}
