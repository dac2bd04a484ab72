//! The kernel program from userspace: loaded, attached, its ring as bytes, its tables.
//!
//! Pipeline: kernel probes → **ring** → decode → … Nothing here interprets a record.

mod attach;
mod attaching;
mod control;
mod load;
mod pod;
mod ring;
mod trial;

use std::thread;

use aya::{Ebpf, EbpfError, maps::MapError, programs::ProgramError};
use cowtrace_ebpf::state::RING;

use crate::kernel::hooks::Hook;
use crate::kernel::rung::Rung;

pub use attach::Attached;
pub use attaching::{Claim, Following};
pub use control::{Control, Plans, Templates, has_pending};
pub use load::LoadOptions;
pub use ring::Ring;
pub use trial::choose;

/// What can go wrong between here and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The object could not be prepared, or a map could not be made.
    #[error("the kernel refused a map or the object's type information")]
    Load(#[source] EbpfError),
    /// A program could not be loaded or attached; a refusal by the verifier carries its log.
    #[error("the probe on `{probe}` cannot be attached")]
    Attach {
        /// The tracepoint or event.
        probe: &'static str,
        /// Why.
        #[source]
        source: Box<ProgramError>,
    },
    /// The object does not have a program that the table of hooks names.
    #[error("the kernel object has no program `{program}` of the expected kind")]
    NoProgram {
        /// Its name.
        program: &'static str,
    },
    /// The object does not have a map.
    #[error("the kernel object has no map `{name}`")]
    NoMap {
        /// Its name.
        name: &'static str,
    },
    /// A map could not be read or written.
    #[error("the map `{name}` cannot be used")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: MapError,
    },
    /// The kernel's own description of its types cannot be used.
    #[error("the kernel's types cannot be read")]
    Types(#[source] aya::BtfError),
    /// Nobody can be woken by the ring buffer.
    #[error("the ring buffer cannot be waited for")]
    Wait(#[source] std::io::Error),
    /// More interpreter builds than there are plans for.
    #[error("more than {} different interpreter builds in one session", cowtrace_ebpf::plan::MAX_PLANS - 1)]
    TooManyPlans,
}

/// Bytes of an error that are said at most.
const LONGEST_ERROR: usize = 300;

/// An error and its causes, each once and without the verifier's log.
#[must_use]
pub fn words(error: BpfError) -> String {
    let error = anyhow::Error::new(error);
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = cause.split("Verifier output:").next().unwrap_or_default();
        let cause = cause.lines().next().unwrap_or_default().trim_end_matches([' ', '.']);
        if !cause.is_empty() && !said.contains(cause) {
            said.push_str(if said.is_empty() { "" } else { ": " });
            said.push_str(cause);
        }
    }
    said.truncate(said.floor_char_boundary(LONGEST_ERROR));
    said
}

/// The loaded program. Dropping it takes every probe out of the kernel.
pub struct Bpf {
    ebpf: Ebpf,
}

impl Bpf {
    /// Creates the maps and prepares the programs.
    ///
    /// # Errors
    /// [`BpfError::Load`].
    pub fn load(options: &LoadOptions) -> Result<Self, BpfError> {
        // In a thread of its own, as every reading of the kernel's types: see [`trial`].
        let loaded = thread::scope(|scope| scope.spawn(|| load::load(options)).join());
        let ebpf = loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Self { ebpf })
    }

    /// Takes the ring buffer; once.
    ///
    /// # Errors
    /// It was taken already, or is of another kind.
    pub fn ring(&mut self) -> Result<Ring, BpfError> {
        let map = self.ebpf.take_map(RING).ok_or(BpfError::NoMap { name: RING })?;
        let ring = map.try_into().map_err(|source| BpfError::Map { name: RING, source })?;
        Ring::new(ring).map_err(BpfError::Wait)
    }

    /// Takes the tables of processes; once.
    ///
    /// # Errors
    /// They were taken already, or are of another kind.
    pub fn control(&mut self) -> Result<Control, BpfError> {
        Control::new(&mut self.ebpf)
    }

    /// Takes the table of processes that were there before; once.
    ///
    /// # Errors
    /// It was taken already, or is of another kind.
    pub fn following(&mut self) -> Result<Following, BpfError> {
        Following::new(&mut self.ebpf)
    }

    /// Takes the tables of plans; once.
    ///
    /// # Errors
    /// They were taken already, or are of another kind.
    pub fn plans(&mut self) -> Result<Plans, BpfError> {
        Plans::new(&mut self.ebpf)
    }

    /// Takes the table of native stacks; once.
    ///
    /// # Errors
    /// It was taken already, or is of another kind.
    pub fn templates(&mut self) -> Result<Templates, BpfError> {
        Templates::new(&mut self.ebpf)
    }

    /// Attaches the probes; functions in the rung's way.
    ///
    /// # Errors
    /// A required one could not be attached.
    pub fn attach(&mut self, hooks: &[&Hook], rung: Rung) -> Result<Attached, BpfError> {
        attach::attach(&mut self.ebpf, hooks, rung)
    }

    /// The object, for the kernel program's own diagnostics.
    pub fn object(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_error_is_said_once_and_shortly() {
        let source = ProgramError::IOError(io::Error::from_raw_os_error(libc::EPERM));
        let said = words(BpfError::Attach { probe: "rss_stat", source: Box::new(source) });
        assert_eq!(said, "the probe on `rss_stat` cannot be attached: Operation not permitted (os error 1)");
    }
}
