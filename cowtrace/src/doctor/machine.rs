//! Looks at the machine: everything that the checks judge, read once.

use std::fs;
use std::time::{Duration, Instant};

use cowtrace_ebpf::config::FUNCTIONS;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::geteuid;

use super::cgroup::{self, Limit};
use crate::bpf::{Bpf, LoadOptions, choose, words};
use crate::kernel;
use crate::kernel::capability::Effective;
use crate::kernel::fields::{self, Fields};
use crate::kernel::hooks::{self, HOOKS, Hook, Need};
use crate::kernel::preemption::Preemption;
use crate::kernel::rung::{Means, Rung, Tracepoints, Wanted};

/// Settings that decide what users without capabilities may do.
const SETTINGS: [&str; 2] = ["kernel.unprivileged_bpf_disabled", "kernel.perf_event_paranoid"];
/// Who may look into another process's memory, where the kernel has the Yama security module.
const PTRACE_SCOPE: &str = "kernel.yama.ptrace_scope";

/// What was seen.
#[derive(Debug)]
pub(super) struct Machine {
    /// As in `uname -r`.
    pub(super) release: String,
    /// As in `uname -m`.
    pub(super) architecture: String,
    /// Bytes.
    pub(super) page_size: u64,
    /// Number of the user.
    pub(super) user: u32,
    pub(super) capabilities: Effective,
    /// A filter decides which system calls this process may make.
    pub(super) seccomp: bool,
    /// Namespaces, as their links name them.
    pub(super) pid_namespace: Option<String>,
    pub(super) user_namespace: Option<String>,
    /// The kernel's word for how far it is locked down; `None` = it does not say.
    pub(super) lockdown: Option<String>,
    /// Names and values of [`SETTINGS`] that the kernel has.
    pub(super) settings: Vec<(&'static str, String)>,
    /// `None` = there is no such setting.
    pub(super) ptrace_scope: Option<u32>,
    pub(super) types: Result<Types, kernel::Error>,
    /// Bytes that this process may lock; `None` = any.
    pub(super) locked: Option<u64>,
    /// Bytes that the machine could give at once; `None` = it does not say.
    pub(super) available: Option<u64>,
    /// Limits of the control groups that this process is in, its own first.
    pub(super) limits: Vec<Limit>,
    /// Bytes of the ring buffer that is wanted.
    pub(super) buffer: u64,
    pub(super) trial: Trial,
}

/// What the kernel tells of its types.
#[derive(Debug)]
pub(super) struct Types {
    /// Where the fields lie that are read.
    pub(super) fields: Result<Fields, kernel::Error>,
    /// The places that there are.
    pub(super) present: Vec<&'static Hook>,
    /// How a trace would see; the base rung where nothing could be tried.
    pub(super) means: Means,
    /// What it might lack by them, as the kernel preempts; sentences.
    pub(super) preempted: Vec<&'static str>,
}

/// One attempt to do what a trace begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// It made no sense to try.
    Untried,
    /// The probes were attached, and taken out again.
    Worked {
        /// How many.
        probes: usize,
        /// What could not be attached, in words.
        missing: Vec<String>,
        /// Time until all were.
        took: Duration,
    },
    /// What the kernel said.
    Failed(String),
}

impl Machine {
    pub(super) fn look(buffer: u32) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let capabilities = Effective::of_status(&status);
        let locked = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(None, |(soft, _)| limited(soft));
        let may_try = capabilities.missing().is_empty();
        let types = kernel::types().map(|btf| {
            let fields = fields::config(&btf);
            let preemption = Preemption::running();
            let means = Means {
                rung: may_try.then(|| choose(&btf, Wanted::Best)).and_then(Result::ok).unwrap_or(Rung::Base),
                tracepoints: fields
                    .as_ref()
                    .map_or(Tracepoints::Raw, |fields| preemption.tracepoints(&fields.config)),
            };
            Types {
                fields,
                means,
                preempted: preemption.lacks(means),
                present: HOOKS.iter().filter(|hook| hooks::is_present(&btf, hook)).collect(),
            }
        });
        let limits = cgroup::limits();
        let trial = match &types {
            Ok(types) if may_try => attempt(types, ring(buffer, &limits)),
            _ => Trial::Untried,
        };
        Self {
            release: kernel::release(),
            architecture: setting("kernel.arch").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            page_size: procfs::page_size(),
            user: geteuid().as_raw(),
            capabilities,
            seccomp: value(&status, "Seccomp:").is_some_and(|mode| mode == "2"),
            pid_namespace: namespace("pid"),
            user_namespace: namespace("user"),
            lockdown: kernel::lockdown(),
            settings: SETTINGS.iter().filter_map(|name| Some((*name, setting(name)?))).collect(),
            ptrace_scope: setting(PTRACE_SCOPE).and_then(|scope| scope.parse().ok()),
            types,
            locked,
            available: available(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
            limits,
            buffer: buffer.into(),
            trial,
        }
    }
}

/// The ring buffer to try with: the smallest where the one that is wanted would not fit, so that the rest is tried all the
/// same.
fn ring(buffer: u32, limits: &[Limit]) -> u32 {
    let fits = limits.iter().all(|limit| limit.free() >= u64::from(buffer));
    if fits { buffer } else { u32::try_from(procfs::page_size()).unwrap_or(buffer) }
}

/// Loads and attaches every probe, follows no process, and takes all out again.
fn attempt(types: &Types, ring_bytes: u32) -> Trial {
    let Ok(fields) = &types.fields else { return Trial::Untried };
    let is_required = |hook: &&Hook| hook.need == Need::Required && hook.serves(types.means);
    if HOOKS.iter().filter(is_required).any(|hook| !types.present.iter().any(|one| one.name() == hook.name()))
    {
        return Trial::Untried;
    }
    let begin = Instant::now();
    let mut config = fields.config;
    if types.means.rung != Rung::Base {
        config.flags |= FUNCTIONS;
    }
    let hooks: Vec<&Hook> = types.present.iter().copied().filter(|hook| hook.serves(types.means)).collect();
    let options = LoadOptions { config, ring_bytes, threads: 0, processes: 0, log: false };
    let mut bpf = match Bpf::load(&options) {
        Ok(bpf) => bpf,
        Err(error) => return Trial::Failed(words(error)),
    };
    match bpf.attach(&hooks, types.means.rung) {
        Ok(attached) => {
            Trial::Worked { probes: attached.probes.len(), missing: attached.missing, took: begin.elapsed() }
        }
        Err(error) => Trial::Failed(words(error)),
    }
}

fn limited(limit: u64) -> Option<u64> {
    (limit != RLIM_INFINITY).then_some(limit)
}

/// A setting by the name that `sysctl` has for it.
fn setting(name: &str) -> Option<String> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    fs::read_to_string(path).ok().map(|value| value.trim().to_owned())
}

fn namespace(kind: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
    link.to_str().map(str::to_owned)
}

/// What stands behind a name in a file of `/proc`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn available(meminfo: &str) -> Option<u64> {
    let kibibytes = value(meminfo, "MemAvailable:")?.strip_suffix("kB")?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(available("MemAvailable: many\n"), None);
        assert_eq!(value("Seccomp:\t2\nSeccomp_filters:\t1\n", "Seccomp:"), Some("2"));
    }

    #[test]
    fn a_buffer_that_does_not_fit_is_not_tried() {
        let limit = |limit| Limit { path: "/a".into(), limit, used: 0 };
        assert_eq!(ring(1 << 26, &[]), 1 << 26);
        assert_eq!(ring(1 << 26, &[limit(1 << 30)]), 1 << 26);
        assert_eq!(u64::from(ring(1 << 26, &[limit(1 << 30), limit(1 << 20)])), procfs::page_size());
    }
}
