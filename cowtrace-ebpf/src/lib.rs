//! The contract between the two halves of cowtrace: the kernel program writes these records, userspace reads them.
//!
//! * **Version**: [`ABI_VERSION`]; userspace embeds the object that was built from the same sources, so the two never
//!   meet at different versions. The number guards recordings of raw records.
//! * **Byte order**: the machine's own, little-endian on every supported target.
//! * **Clock**: every time is `CLOCK_MONOTONIC` in nanoseconds (`bpf_ktime_get_ns`).
//! * **Rule of change**: numbers of kinds, outcomes and drop reasons are never reused; a retired one stays as a gap.
//!
//! Nothing here may depend on the kernel side's helpers or on userspace: integers and byte arrays only, every type
//! plain data with no hidden padding (`bytemuck::Pod` proves it at compile time), every size asserted.
#![no_std]
#![forbid(unsafe_code)]

pub mod config;
pub mod drops;
pub mod event;
pub mod native;
pub mod outcome;
pub mod page;
pub mod plan;
pub mod state;

/// Version of everything in this crate. Raised with every change of a layout or of a number's meaning.
pub const ABI_VERSION: u32 = 1;
