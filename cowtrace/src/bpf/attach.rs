//! Loads each program into the kernel's verifier and attaches it where the table of hooks says.

use std::time::Instant;

use aya::{
    Btf, Ebpf,
    programs::{
        FEntry, FExit, KProbe, PerfEvent, Program, ProgramError, RawTracePoint, TracePoint,
        perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent as Event},
    },
    util::online_cpus,
};

use super::BpfError;
use crate::kernel::hooks::{Attach, Hook, Need, SoftwareEvent};
use crate::kernel::rung::{Rung, Way};

/// Which hooks are live.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// Names of the probes that are attached.
    pub probes: Vec<String>,
    /// What cannot be seen for want of an optional probe, in words.
    pub missing: Vec<String>,
}

/// Attaches hooks in their order. A required one that fails is an error; an optional one is said in `missing`.
pub(super) fn attach(ebpf: &mut Ebpf, hooks: &[&Hook], rung: Rung) -> Result<Attached, BpfError> {
    let mut attached = Attached::default();
    let functions = match rung {
        Rung::Base => None,
        Rung::Functions(way) => Some(Functions::new(way)?),
    };
    for hook in hooks {
        let begin = Instant::now();
        match attach_one(ebpf, hook, functions.as_ref()) {
            Ok(name) => {
                log::debug!("{name} attached in {:?}", begin.elapsed());
                attached.probes.push(name);
            }
            Err(error) if hook.need == Need::Required => return Err(error),
            Err(error) => {
                log::warn!("{error:#}");
                attached.missing.push(hook.without.to_owned());
            }
        }
    }
    Ok(attached)
}

/// The name of the probe in the header.
fn attach_one(ebpf: &mut Ebpf, hook: &Hook, functions: Option<&Functions>) -> Result<String, BpfError> {
    let failed = |source| BpfError::Attach { probe: hook.name(), source: Box::new(source) };
    if let (Attach::Function { symbols, returns, .. }, Some(functions)) = (hook.attach, functions) {
        return functions.attach(ebpf, symbols, returns).map_err(|error| match error {
            Refused::NoProgram => BpfError::NoProgram { program: hook.program },
            Refused::By(source) => failed(source),
        });
    }
    let program = ebpf.program_mut(hook.program).ok_or(BpfError::NoProgram { program: hook.program })?;
    match (hook.attach, program) {
        (Attach::RawTracepoint { tracepoint, .. }, Program::RawTracePoint(program)) => {
            attach_tracepoint(program, tracepoint).map_err(failed)?;
        }
        (Attach::Record { category, tracepoint, .. }, Program::TracePoint(program)) => {
            attach_record(program, category, tracepoint).map_err(failed)?;
        }
        (Attach::PerfEvent(event), Program::PerfEvent(program)) => {
            attach_event(program, event).map_err(failed)?;
        }
        _ => return Err(BpfError::NoProgram { program: hook.program }),
    }
    Ok(hook.name().to_owned())
}

/// How functions are attached to.
pub(super) struct Functions {
    way: Way,
    /// Trampolines are for functions by their number in the kernel's types.
    types: Option<Btf>,
}

/// Why a function is not attached to.
pub(super) enum Refused {
    /// The object has no program for it.
    NoProgram,
    /// The kernel's answer.
    By(ProgramError),
}

impl From<ProgramError> for Refused {
    fn from(error: ProgramError) -> Self {
        Self::By(error)
    }
}

impl Functions {
    pub(super) fn new(way: Way) -> Result<Self, BpfError> {
        let types = (way == Way::Trampolines).then(Btf::from_sys_fs).transpose().map_err(BpfError::Types)?;
        Ok(Self { way, types })
    }

    /// Attaches to the first of a function's names that will do; its name in the header.
    pub(super) fn attach(
        &self,
        ebpf: &mut Ebpf,
        symbols: &[&'static str],
        returns: bool,
    ) -> Result<String, Refused> {
        let word = self.way.word(returns);
        let program = ebpf.program_mut(&format!("handler_{word}")).ok_or(Refused::NoProgram)?;
        let mut refused = Refused::NoProgram;
        for symbol in symbols {
            match self.attach_to(program, symbol) {
                Ok(()) => return Ok(format!("{word}:{symbol}")),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn attach_to(&self, program: &mut Program, symbol: &str) -> Result<(), Refused> {
        match (program, &self.types) {
            (Program::FEntry(program), Some(types)) => entry(program, symbol, types)?,
            (Program::FExit(program), Some(types)) => exit(program, symbol, types)?,
            (Program::KProbe(program), _) => kprobe(program, symbol)?,
            _ => return Err(Refused::NoProgram),
        }
        Ok(())
    }
}

fn entry(program: &mut FEntry, symbol: &str, types: &Btf) -> Result<(), ProgramError> {
    program.load(symbol, types)?;
    program.attach()?;
    Ok(())
}

fn exit(program: &mut FExit, symbol: &str, types: &Btf) -> Result<(), ProgramError> {
    program.load(symbol, types)?;
    program.attach()?;
    Ok(())
}

fn kprobe(program: &mut KProbe, symbol: &str) -> Result<(), ProgramError> {
    if program.fd().is_err() {
        program.load()?;
    }
    program.attach(symbol, 0)?;
    Ok(())
}

fn attach_tracepoint(program: &mut RawTracePoint, tracepoint: &str) -> Result<(), ProgramError> {
    if program.fd().is_err() {
        program.load()?;
    }
    program.attach(tracepoint)?;
    Ok(())
}

fn attach_record(program: &mut TracePoint, category: &str, tracepoint: &str) -> Result<(), ProgramError> {
    program.load()?;
    program.attach(category, tracepoint)?;
    Ok(())
}

fn attach_event(program: &mut PerfEvent, event: SoftwareEvent) -> Result<(), ProgramError> {
    let event = match event {
        SoftwareEvent::MinorFaults => Event::PageFaultsMin,
        SoftwareEvent::MajorFaults => Event::PageFaultsMaj,
    };
    if program.fd().is_err() {
        program.load()?;
    }
    let cpus = online_cpus().map_err(|(_, error)| ProgramError::IOError(error))?;
    for cpu in cpus {
        program.attach(
            PerfEventConfig::Software(event),
            PerfEventScope::AllProcessesOneCpu { cpu },
            SamplePolicy::Period(1),
            false,
        )?;
    }
    Ok(())
}
