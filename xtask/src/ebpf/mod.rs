//! `cargo xtask build-ebpf`: compiles the kernel program into the object that cowtrace embeds.
//!
//! The object is committed, so that only who changes the kernel program needs its toolchain. Whoever doubts the bytes
//! can build them again: no path, time or environment of the machine gets into them.

mod compiler;
mod linker;
mod lock;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

pub(crate) use self::compiler::Compiler;
use self::compiler::DEBIAN_PACKAGES;
use self::linker::Linker;
use self::lock::{Lock, Toolchain};
use crate::say::say;
use crate::workspace::Workspace;
use crate::{command, debian, digest};

const TARGET: &str = "bpfel-unknown-none";
const OBJECT: &str = "cowtrace/ebpf/cowtrace.bpf.o";

/// What `--check` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The committed object is what its sources compile to.
    Same,
    /// Another toolchain built the committed object, so the bytes say nothing; here is what this one builds.
    OtherToolchain(PathBuf),
}

/// Builds the object and puts it, with its lock file, where cowtrace embeds it.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let tools = Tools::find(workspace)?;
    // Before compiling: an edit during it must leave the object stale.
    let sources = digest::sources(workspace.root()).context("failed to read the kernel program's sources")?;
    let fresh = fs::read(tools.compile(workspace)?).context("failed to read the object just built")?;
    let lock = Lock { sources, toolchain: tools.toolchain(), object: digest::sha256(&fresh) };
    write_if_changed(&workspace.object(), &fresh)?;
    write_if_changed(&workspace.object_lock(), lock.to_string().as_bytes())?;
    say(format_args!("{OBJECT}: {} bytes, sha256 {}", fresh.len(), lock.object));
    Ok(())
}

/// Builds the object unless the committed one is of these sources.
pub(crate) fn build_if_stale(workspace: &Workspace) -> Result<()> {
    if stale(workspace)?.is_some() { build(workspace) } else { Ok(()) }
}

/// Builds the object again and compares it with the committed one.
pub(crate) fn check(workspace: &Workspace) -> Result<Checked> {
    if let Some(reason) = stale(workspace)? {
        bail!("{reason}: run `cargo xtask build-ebpf`");
    }
    let tools = Tools::find(workspace)?;
    let fresh = tools.compile(workspace)?;
    let built_by = Lock::read(&workspace.object_lock())?.unwrap_or_default().toolchain;
    if built_by != tools.toolchain() {
        say(format_args!(
            "{OBJECT} was built by {built_by}, this is {}: bytes not compared, tests use the fresh object",
            tools.toolchain()
        ));
        return Ok(Checked::OtherToolchain(fresh));
    }
    if fs::read(&fresh)? != fs::read(workspace.object())? {
        bail!("{OBJECT} is not what its sources compile to: run `cargo xtask build-ebpf`");
    }
    say(format_args!("{OBJECT} is what its sources compile to"));
    Ok(Checked::Same)
}

/// Why the committed object cannot be used, if so.
fn stale(workspace: &Workspace) -> Result<Option<String>> {
    let (Some(lock), Ok(object)) = (Lock::read(&workspace.object_lock())?, fs::read(workspace.object()))
    else {
        return Ok(Some(format!("{OBJECT} has not been built")));
    };
    if lock.object != digest::sha256(&object) {
        return Ok(Some(format!("{OBJECT} is not the one that its lock file describes")));
    }
    let sources = digest::sources(workspace.root()).context("failed to read the kernel program's sources")?;
    if lock.sources != sources {
        return Ok(Some(format!("the kernel program's sources have changed since {OBJECT} was built")));
    }
    Ok(None)
}

/// A compiler and a linker that fit together.
pub(crate) struct Tools {
    compiler: Compiler,
    linker: Linker,
}

impl Tools {
    /// Looks for them, and installs what is missing where that can be done without asking.
    pub(crate) fn find(workspace: &Workspace) -> Result<Self> {
        let wanted = Lock::read(&workspace.object_lock())?.unwrap_or_default().toolchain;
        let tools = match Self::choose(&wanted) {
            Some(tools) => tools,
            None if debian::may_install() => Self::install()?,
            None => bail!(
                "the kernel program needs a compiler with its library's source and a bpf-linker of the same LLVM: run \
                 `rustup toolchain install nightly --component rust-src` and `cargo install bpf-linker`"
            ),
        };
        say(format_args!(
            "compiling with {} ({}) and {}",
            tools.compiler.name,
            tools.toolchain(),
            tools.linker.bin.display()
        ));
        Ok(tools)
    }

    /// The pair that built the committed object if it is here; else the first that fits.
    fn choose(wanted: &Toolchain) -> Option<Self> {
        let linkers = Linker::all();
        let mut pairs: Vec<Self> = Vec::new();
        for compiler in Compiler::all() {
            let suiting = linkers.iter().filter(|linker| linker.suits(&compiler));
            pairs.extend(suiting.map(|linker| Self { compiler: compiler.clone(), linker: linker.clone() }));
        }
        let at = pairs.iter().position(|tools| tools.toolchain() == *wanted).unwrap_or(0);
        (at < pairs.len()).then(|| pairs.swap_remove(at))
    }

    fn install() -> Result<Self> {
        let usable = || Compiler::all().into_iter().find(Linker::installable_for);
        let compiler = match usable() {
            Some(compiler) => compiler,
            None => {
                debian::install(DEBIAN_PACKAGES)?;
                usable().with_context(|| {
                    format!("{} do not make a compiler that fits", DEBIAN_PACKAGES.join(", "))
                })?
            }
        };
        let present = Linker::all().into_iter().find(|linker| linker.suits(&compiler));
        let linker = present.map_or_else(Linker::install, Ok)?;
        Ok(Self { compiler, linker })
    }

    fn toolchain(&self) -> Toolchain {
        Toolchain::of(&self.compiler, &self.linker)
    }

    /// Compiles the kernel program; where the object is then.
    fn compile(&self, workspace: &Workspace) -> Result<PathBuf> {
        let target = workspace.bpf_target();
        self.forget_other_linkers(&target)?;
        self.run(workspace, "build", &["--bin", digest::PACKAGE], &[])
            .context("the kernel program does not compile")?;
        Ok(target.join(TARGET).join("bpf").join(digest::PACKAGE))
    }

    /// Runs clippy on the kernel program, for the target that it is for.
    pub(crate) fn clippy(&self, workspace: &Workspace) -> Result<()> {
        self.run(workspace, "clippy", &["--bins", "--lib"], &["--", "--deny", "warnings"])
    }

    /// The file whose absence means that this compiler has no clippy.
    pub(crate) fn clippy_driver(&self) -> PathBuf {
        self.compiler.bin.join("clippy-driver")
    }

    /// Whether the compiler is the one of Debian's packages.
    pub(crate) fn is_debians(&self) -> bool {
        self.compiler.bin == Path::new("/usr/bin")
    }

    fn run(&self, workspace: &Workspace, what: &str, targets: &[&str], last: &[&str]) -> Result<()> {
        let mut fetch = self.compiler.cargo(workspace.root(), &self.linker.bin)?;
        // Before the paths of their sources can be left out of the object, the crates have to be there.
        command::run(fetch.args(["fetch", "--locked", "--quiet", "--target", TARGET]))?;
        let mut cargo = self.compiler.cargo(workspace.root(), &self.linker.bin)?;
        cargo
            .args([
                what,
                "--locked",
                "--package",
                digest::PACKAGE,
                "--features",
                "program",
                "--target",
                TARGET,
            ])
            .args(["-Z", "build-std=core", "--profile", "bpf", "--target-dir"])
            .arg(workspace.bpf_target())
            .args(targets)
            .args(last)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(workspace)?);
        command::run(&mut cargo)
    }

    /// Flags for the compiler, none of which holds a path that would reach the object.
    fn flags(&self, workspace: &Workspace) -> Result<OsString> {
        let mut flags: Vec<OsString> =
            ["-Clinker=bpf-linker", "-Clink-arg=--btf"].into_iter().map(OsString::from).collect();
        let mut remap = |from: &Path, to: &str| {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(from);
            flag.push("=");
            flag.push(to);
            flags.push(flag);
        };
        remap(workspace.root(), "/cowtrace");
        for folder in compiler::registry_sources()? {
            remap(&folder, "/crates");
        }
        for folder in &self.compiler.library {
            remap(folder, "/rust");
        }
        Ok(flags.join(std::ffi::OsStr::new("\x1f")))
    }

    /// Cargo builds again for another compiler, but does not know which linker is on PATH.
    fn forget_other_linkers(&self, target: &Path) -> Result<()> {
        let (mark, now) = (target.join("linker"), &self.linker.version);
        let before = fs::read_to_string(&mark).unwrap_or_default();
        if before == *now {
            return Ok(());
        }
        let built = target.join(TARGET);
        if built.exists() {
            fs::remove_dir_all(&built).with_context(|| format!("failed to remove {}", built.display()))?;
        }
        fs::create_dir_all(target).with_context(|| format!("failed to create {}", target.display()))?;
        fs::write(&mark, now).with_context(|| format!("failed to write {}", mark.display()))
    }
}

/// Leaves a file alone that already has this content: its time decides what cargo builds again.
fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|before| before == content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    }
    fs::write(path, content).with_context(|| format!("failed to write {}", path.display()))
}
