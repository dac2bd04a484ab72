//! Whether the kernel lets functions be attached to: by trying it with the smaller one of the programs.

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
        match works(way) {
            Ok(()) => return Ok(Rung::Functions(way)),
            Err(error) => {
                let reason = format!("{}: {}", way.word(false), words(error));
                log::info!("not by {reason}");
                reasons.push(reason);
            }
        }
    }
    if base { Ok(Rung::Base) } else { Err(kernel::Error::NoFunctions(reasons.join("; "))) }
}

/// Attaches to the return of the fault handler in a way, and lets go of it again.
fn works(way: Way) -> Result<(), BpfError> {
    let symbols = |hook: &&'static Hook| match hook.attach {
        Attach::Function { symbols, returns: true, .. } => Some((hook.program, symbols)),
        _ => None,
    };
    let Some((program, symbols)) = HOOKS.iter().find_map(|hook| symbols(&hook)) else { return Ok(()) };
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
