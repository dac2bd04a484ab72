//! Loads the kernel program that was built into this executable.

use aya::{Ebpf, EbpfLoader};
use cowtrace_ebpf::{
    config::{CONFIG, Config},
    state::{FOLLOW, PROCESSES, RING, THREADS},
};

use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use super::{BpfError, pod::ConfigPod};

/// The object that `cargo xtask build-ebpf` made; the build script refuses one that does not fit the sources.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("COWTRACE_BPF_OBJECT"));

/// Tables whose room is chosen before loading.
pub(super) const TABLES: [&str; 3] = [THREADS, PROCESSES, FOLLOW];

/// What can be chosen before loading.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Offsets and switches.
    pub config: Config,
    /// Bytes of the ring buffer: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Threads that there is room for, at least.
    pub threads: u32,
    /// Processes that there is room for, at least.
    pub processes: u32,
    /// Whether the kernel program's own diagnostics are on.
    pub log: bool,
}

/// Room for threads and processes when nobody asks for more.
const THREADS_AT_LEAST: u32 = 16_384;
const PROCESSES_AT_LEAST: u32 = 32_768;

/// Creates the maps and hands the object over; no program is loaded into the kernel yet.
pub(super) fn load(options: &LoadOptions) -> Result<Ebpf, BpfError> {
    // Before Linux 5.11 maps count against this limit. Where it cannot be raised, the kernel says so itself.
    let unlimited = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    log::debug!("limit of locked memory raised: {unlimited:?}");
    let config = ConfigPod(options.config);
    let level: u8 = if options.log { u8::MAX } else { 0 };
    let mut loader = EbpfLoader::new();
    loader
        // Nothing in the object is relocated by the kernel's types: offsets come with `config`.
        .btf(None)
        .override_global(CONFIG, &config, true)
        .override_global("AYA_LOG_LEVEL", &level, false)
        .map_max_entries(RING, options.ring_bytes)
        .map_max_entries(THREADS, options.threads.max(THREADS_AT_LEAST))
        .map_max_entries(PROCESSES, options.processes.max(PROCESSES_AT_LEAST))
        .map_max_entries(FOLLOW, options.processes.max(PROCESSES_AT_LEAST));
    loader.load(OBJECT).map_err(BpfError::Load)
}
