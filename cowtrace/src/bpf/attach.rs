//! Loads each program into the kernel's verifier and attaches it where the table of hooks says.

use std::time::Instant;

use aya::{
    Ebpf,
    programs::{
        PerfEvent, Program, ProgramError, RawTracePoint,
        perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent as Event},
    },
    util::online_cpus,
};

use super::BpfError;
use crate::kernel::hooks::{Attach, Hook, Need, SoftwareEvent};

/// Which hooks are live.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// Names of the probes that are attached.
    pub probes: Vec<String>,
    /// What cannot be seen for want of an optional probe, in words.
    pub missing: Vec<String>,
}

/// Attaches hooks in their order. A required one that fails is an error; an optional one is said in `missing`.
pub(super) fn attach(ebpf: &mut Ebpf, hooks: &[&Hook]) -> Result<Attached, BpfError> {
    let mut attached = Attached::default();
    for hook in hooks {
        let begin = Instant::now();
        match attach_one(ebpf, hook) {
            Ok(()) => {
                log::debug!("{} attached in {:?}", hook.name(), begin.elapsed());
                attached.probes.push(hook.name().to_owned());
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

fn attach_one(ebpf: &mut Ebpf, hook: &Hook) -> Result<(), BpfError> {
    let failed = |source| BpfError::Attach { probe: hook.name(), source: Box::new(source) };
    let program = ebpf.program_mut(hook.program).ok_or(BpfError::NoProgram { program: hook.program })?;
    match (hook.attach, program) {
        (Attach::RawTracepoint { tracepoint, .. }, Program::RawTracePoint(program)) => {
            attach_tracepoint(program, tracepoint).map_err(failed)
        }
        (Attach::PerfEvent(event), Program::PerfEvent(program)) => {
            attach_event(program, event).map_err(failed)
        }
        _ => Err(BpfError::NoProgram { program: hook.program }),
    }
}

fn attach_tracepoint(program: &mut RawTracePoint, tracepoint: &str) -> Result<(), ProgramError> {
    program.load()?;
    program.attach(tracepoint)?;
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
