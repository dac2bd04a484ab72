//! CPython in a file that need not run: which version it is, and whether there is a layout for it. Whether its memory is
//! what the layout says, only a process shows.

use std::path::Path;

use super::NAME;
use super::discover::{MOST_SCANNED, SECTION, SYMBOLS, cookie, version_in_name};
use super::layout::{self, Version};
use super::version;
use crate::interp::{InFile, Language, Reason};
use crate::memory::Memory as _;
use crate::process::object::{Object, open};
use crate::record::schema::Interpreter;

pub(super) fn look(object: &Object, path: &Path) -> Option<InFile> {
    let [runtime, version, type_type, _] = object.symbols(SYMBOLS).unwrap_or_default();
    let runtime = runtime.or_else(|| object.section(SECTION).ok().flatten()).map(|place| place.address);
    let runtime = runtime.or_else(|| unnamed(object, path));
    if runtime.is_none() && type_type.is_none() {
        return None;
    }
    let told = runtime.and_then(|runtime| layout::told(object, runtime));
    let symbol = version.and_then(|place| object.u32(place.address).ok()).map(Version);
    let version = told.map(|told| told.version).or(symbol).or_else(|| version::of_object(object));
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let text = version.map_or_else(|| version_in_name(name), |version| version.to_string());
    let version = version.or_else(|| version::of_name(&text));
    let free_threaded = told.is_some_and(|told| told.free_threaded);
    let layout = version.and_then(|version| layout::of_version(version, free_threaded));
    let interpreter = Interpreter {
        name: NAME.to_owned(),
        version: text.clone(),
        path: path.to_string_lossy().into_owned(),
        layout: layout.map(|layout| layout.name.to_owned()),
    };
    let language = layout.map(|layout| layout as &dyn Language);
    Some(InFile {
        interpreter,
        language: language.ok_or_else(|| Reason::NoLayout { version: text, known: layout::known() }),
    })
}

/// A runtime that nothing names, as in a program that was linked with the interpreter and stripped.
fn unnamed(object: &Object, path: &Path) -> Option<u64> {
    let file = open(path).ok()?;
    let mut left = MOST_SCANNED;
    object.data().find_map(|data| {
        let len = data.size.min(left);
        left -= len;
        let at = cookie(&file, data.offset, len)?;
        let runtime = data.address.wrapping_add(at - data.offset);
        layout::told(object, runtime).filter(|told| told.version.is_3())?;
        Some(runtime)
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn found(path: &Path) -> Option<InFile> {
        look(&Object::open(path).unwrap(), path)
    }

    #[test]
    fn a_program_without_an_interpreter() {
        assert!(found(Path::new("/proc/self/exe")).is_none());
    }

    /// What the file tells is what the interpreter says of itself.
    #[test]
    fn interpreters_of_this_machine() {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let name = |folder: PathBuf| (8..=15).map(move |minor| folder.join(format!("python3.{minor}")));
        let programs: Vec<PathBuf> =
            std::env::split_paths(&folders).flat_map(name).filter(|path| path.is_file()).collect();
        let mut met = 0;
        for path in programs {
            let asked = std::process::Command::new(&path)
                .args(["-c", "import platform, os; print(platform.python_version()); print(os.path.realpath('/proc/self/exe'))"])
                .output();
            let Ok(output) = asked else { continue };
            let text = String::from_utf8(output.stdout).unwrap();
            let Some((version, executable)) = text.trim().split_once('\n') else { continue };
            let Ok(object) = Object::open(Path::new(executable)) else { continue };
            let Some(found) = look(&object, Path::new(executable)) else {
                let needed = object.libraries().unwrap().needed;
                assert!(
                    needed.iter().any(|name| name.to_string_lossy().starts_with("libpython")),
                    "{executable}"
                );
                continue;
            };
            met += 1;
            assert_eq!(found.interpreter.version, version, "{executable}");
            assert!(found.language.is_ok() && found.interpreter.layout.is_some());
        }
        if met == 0 {
            println!("SKIPPED (allowed): no interpreter in a program of its own in PATH");
        }
    }
}
