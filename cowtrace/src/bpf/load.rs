//! Loads the kernel program that was built into this executable.

use aya::{Ebpf, EbpfLoader};
use cowtrace_ebpf::{
    config::{CONFIG, Config},
    state::RING,
};

use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use super::{BpfError, pod::ConfigPod};

/// The object that `cargo xtask build-ebpf` made; the build script refuses one that does not fit the sources.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("COWTRACE_BPF_OBJECT"));

/// What can be chosen before loading.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Offsets and switches.
    pub config: Config,
    /// Bytes of the ring buffer: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Whether the kernel program's own diagnostics are on.
    pub log: bool,
}

/// Creates the maps and hands the object over; no program is loaded into the kernel yet.
pub(super) fn load(options: &LoadOptions) -> Result<Ebpf, BpfError> {
    // Before Linux 5.11 maps count against this limit. Where it cannot be raised, the kernel says so itself.
    let unlimited = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    log::debug!("limit of locked memory raised: {unlimited:?}");
    let config = ConfigPod(options.config);
    let level: u8 = if options.log { u8::MAX } else { 0 };
    let mut loader = EbpfLoader::new();
    loader
        .override_global(CONFIG, &config, true)
        .override_global("AYA_LOG_LEVEL", &level, false)
        .map_max_entries(RING, options.ring_bytes);
    loader.load(OBJECT).map_err(BpfError::Load)
}
