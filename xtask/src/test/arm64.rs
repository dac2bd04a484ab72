//! Whether cowtrace has sound types where the processor is an arm64: the standard library and cowtrace are checked for it, and
//! nothing is linked or run.

use std::path::Path;

use anyhow::Result;

use super::counts::Counts;
use crate::ebpf::Compiler;
use crate::{command, debian, workspace::Workspace};

/// Machine, system and C library.
const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The C compiler for it, by the name that crates with parts in C look for, and its library's headers.
const CROSS: [(&str, &str); 2] = [
    ("gcc-aarch64-linux-gnu", "/usr/bin/aarch64-linux-gnu-gcc"),
    ("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/include/stdio.h"),
];

/// The check. What it needs is the compiler of the kernel program, which has the library's source.
pub(super) fn check(workspace: &Workspace) -> Result<Counts> {
    let Some(compiler) = Compiler::all().into_iter().next() else {
        return Ok(Counts::skip(
            "types for arm64: there is no compiler that has the library's source, and no other library for arm64",
        ));
    };
    if debian::may_install() {
        debian::ensure(&CROSS)?;
    }
    let has_headers = CROSS.iter().all(|(_, file)| Path::new(file).exists());
    if !has_headers && command::on_path("aarch64-linux-gnu-gcc").is_none() {
        return Ok(Counts::skip("types for arm64: there is no C compiler for it, aarch64-linux-gnu-gcc"));
    }
    let mut cargo = compiler.cargo(workspace.root(), &compiler.bin)?;
    cargo
        // Without features: what they bring has nothing to do with the machine, and takes half of the time.
        .args(["check", "--locked", "--package", "cowtrace", "--no-default-features", "--target", TARGET])
        .args(["-Z", "build-std=std,panic_abort", "--target-dir"])
        // Apart, since another compiler works in it.
        .arg(workspace.join("target/arm64"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    command::run(&mut cargo)?;
    Ok(Counts::check(true))
}
