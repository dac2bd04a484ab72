//! What tracing needs. A test that cannot run here says so and passes.

use std::path::Path;

/// Whether this process may trace at all; if not, prints why.
#[must_use]
pub fn tracing() -> bool {
    let missing = if !nix::unistd::geteuid().is_root() {
        Some("not root")
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        Some("this kernel has no BTF")
    } else {
        None
    };
    if let Some(reason) = missing {
        println!("SKIPPED: {reason}");
    }
    missing.is_none()
}

/// Whether this process sees page frame numbers; if not, prints why.
#[must_use]
pub fn page_frames() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED: not root, so /proc/PID/pagemap has no page frame numbers");
    }
    root
}

/// Says that a part of a test was left out, and why that is in order.
pub fn skipped(reason: &str) {
    println!("SKIPPED (allowed): {reason}");
}
