//! The linker of BPF objects: finding one whose LLVM reads what the compiler writes, or building it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result};

use super::compiler::Compiler;
use crate::say::say;
use crate::{command, debian};

/// The version that is built when none is there; later ones ask for a newer LLVM than Debian has.
const VERSION: &str = "0.10.3";
/// Major version of the LLVM that it is built against.
const LLVM: u32 = 22;

/// A `bpf-linker`.
#[derive(Clone, Debug)]
pub(crate) struct Linker {
    /// Directory of the program.
    pub(crate) bin: PathBuf,
    /// "0.10.3".
    pub(crate) version: String,
    /// Major version of its LLVM; `None` = it takes the compiler's own at run time.
    llvm: Option<u32>,
}

impl Linker {
    /// All that are there: the user's own first.
    pub(crate) fn all() -> Vec<Self> {
        let on_path = command::on_path("bpf-linker").and_then(|file| Some(file.parent()?.to_path_buf()));
        let ours = cache().ok().map(|root| root.join("bin"));
        on_path.into_iter().chain(ours).filter_map(|bin| Self::at(&bin)).collect()
    }

    fn at(bin: &Path) -> Option<Self> {
        let file = bin.join("bpf-linker");
        // A linker whose LLVM library is gone does not start, and is not one.
        let version = command::output(Command::new(&file).arg("--version")).ok()?;
        let version = version.split_whitespace().nth(1)?.to_owned();
        Some(Self { bin: bin.to_path_buf(), version, llvm: llvm_of(&fs::read(&file).ok()?) })
    }

    /// Whether it reads this compiler's output.
    pub(crate) fn suits(&self, compiler: &Compiler) -> bool {
        self.llvm.is_none_or(|llvm| llvm >= compiler.llvm_major())
    }

    /// Whether [`Linker::install`] would yield one that reads this compiler's output.
    pub(crate) fn installable_for(compiler: &Compiler) -> bool {
        LLVM >= compiler.llvm_major()
    }

    /// Builds the linker against Debian's LLVM, with the caller's own cargo, outside of the checkout.
    pub(crate) fn install() -> Result<Self> {
        let prefix = PathBuf::from(format!("/usr/lib/llvm-{LLVM}"));
        let (llvm, polly) = (format!("llvm-{LLVM}-dev"), format!("libpolly-{LLVM}-dev"));
        if !prefix.join("bin/llvm-config").exists() || !prefix.join("lib/libPolly.a").exists() {
            debian::install(&[&llvm, &polly])?;
        }
        let root = cache()?;
        say(format_args!("building bpf-linker {VERSION} into {} (a minute or two)", root.display()));
        let own = PathBuf::from(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let mut cargo = command::foreign_cargo(&own, Path::new("/"));
        // Without rustup's variable, `rustc` on PATH may be of another toolchain than this cargo, or of none.
        let rustc = own.with_file_name("rustc");
        if rustc.is_absolute() && rustc.exists() {
            cargo.env("RUSTC", rustc);
        }
        cargo
            .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--no-default-features"])
            .args(["--features", &format!("llvm-{LLVM}"), "--root"])
            .arg(&root)
            .env("PATH", command::path_with(&[&prefix.join("bin")])?)
            .env(format!("LLVM_SYS_{LLVM}1_PREFIX"), &prefix);
        command::run(&mut cargo)?;
        Self::at(&root.join("bin")).context("the bpf-linker that was just built does not start")
    }
}

/// Where a linker of our own is kept, for every checkout of the user.
fn cache() -> Result<PathBuf> {
    let folder = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder.or_else(|| Some(env::home_dir()?.join(".cache")));
    let folder = folder.context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(folder.join(format!("cowtrace/bpf-linker-{VERSION}")))
}

/// Major version of the LLVM that a program is linked with: the version in the library's name, or in the mark that a
/// linked-in LLVM puts into the bitcode that it writes. The program itself has no option that says it.
fn llvm_of(program: &[u8]) -> Option<u32> {
    const MARKS: &[&[u8]] = &[b"libLLVM.so.", b"libLLVM-", b"\0LLVM"];
    MARKS.iter().find_map(|mark| {
        let found = program.windows(mark.len()).enumerate().filter(|(_, window)| window == mark);
        found
            .filter_map(|(at, _)| number(&program[at + mark.len()..]))
            .find(|major| (10..100).contains(major))
    })
}

/// The number that some bytes begin with, if a dot or an end follows it.
fn number(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ends = bytes.get(digits).is_none_or(|byte| matches!(byte, b'.' | b'\0'));
    let text = std::str::from_utf8(&bytes[..digits]).ok()?;
    text.parse().ok().filter(|_| ends)
}

#[cfg(test)]
mod tests {
    use super::llvm_of;

    #[test]
    fn llvm_is_read_from_the_librarys_name() {
        assert_eq!(llvm_of(b"\x7fELF..\0libLLVM.so.22.1\0libc.so.6\0"), Some(22));
        assert_eq!(llvm_of(b"\x7fELF..\0libLLVM-19.so.1\0"), Some(19));
    }

    #[test]
    fn llvm_that_is_linked_in_is_known_by_its_mark() {
        assert_eq!(llvm_of(b"\0LLVMContextCreate\0LLVM21.1.0\0"), Some(21));
    }

    #[test]
    fn no_mark_means_the_compilers_own() {
        assert_eq!(llvm_of(b"\x7fELF nothing of that sort LLVM22"), None);
    }
}
