//! What the committed object was built from and with: `cowtrace/ebpf/cowtrace.bpf.lock`.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::compiler::Compiler;
use super::linker::Linker;

/// What an object was built with. Another compiler or linker yields other bytes from the same sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Toolchain {
    rustc: String,
    llvm: String,
    linker: String,
}

impl Toolchain {
    pub(crate) fn of(compiler: &Compiler, linker: &Linker) -> Self {
        Self { rustc: compiler.version.clone(), llvm: compiler.llvm.clone(), linker: linker.version.clone() }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "rustc {}, LLVM {}, bpf-linker {}", self.rustc, self.llvm, self.linker)
    }
}

/// The lock file: one "key value" per line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    /// Digest of the sources.
    pub(crate) sources: String,
    pub(crate) toolchain: Toolchain,
    /// SHA-256 of the object.
    pub(crate) object: String,
}

impl Lock {
    /// The lock file at `path`; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
    }

    fn parse(text: &str) -> Self {
        let field = |key: &str| {
            let value = text.lines().filter_map(|line| line.split_once(' ')).find(|(found, _)| *found == key);
            value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let toolchain = Toolchain { rustc: field("rustc"), llvm: field("llvm"), linker: field("bpf-linker") };
        Self { sources: field("sources"), toolchain, object: field("object") }
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sources, toolchain: Toolchain { rustc, llvm, linker }, object } = self;
        writeln!(out, "sources {sources}\nrustc {rustc}\nllvm {llvm}\nbpf-linker {linker}\nobject {object}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let toolchain =
            Toolchain { rustc: "1.96.0 ac68faa20".into(), llvm: "22.1.8".into(), linker: "0.10.3".into() };
        let lock = Lock { sources: "ab".into(), toolchain, object: "cd".into() };
        let text = lock.to_string();
        assert_eq!(text, "sources ab\nrustc 1.96.0 ac68faa20\nllvm 22.1.8\nbpf-linker 0.10.3\nobject cd\n");
        assert_eq!(Lock::parse(&text), lock);
    }
}
