//! Checks of a program that need not run: which file its name means, which interpreter a script asks for, which library a
//! program has its interpreter in.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::Row;
use super::machine::Machine;
use super::target::{known, names, none, unknown};
use crate::interp::{self, InFile};
use crate::process::command::{files, first_line};
use crate::process::object::{Libraries, Object, ObjectError};

const CHECK: &str = "program";
/// Scripts that run scripts, as far as the kernel follows them.
const MOST_SCRIPTS: usize = 5;
/// Where libraries are when nobody says so.
const DEFAULT_FOLDERS: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Where the administrator says so.
const LOADER_SETTINGS: &str = "/etc/ld.so.conf";

pub(super) fn rows(name: &OsStr, machine: &Machine) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut path = match find(name) {
        Ok(path) => path,
        Err(row) => return vec![row],
    };
    for _ in 0..MOST_SCRIPTS {
        let Some(words) = first_line(&path) else { break };
        let next = run_by(&words).map(|name| (name.clone(), find(&name)));
        let Some((name, next)) = next else {
            let found = format!("{} is a script whose first line names no interpreter", path.display());
            rows.push(Row::missing(CHECK, found, "correct the line"));
            return rows;
        };
        rows.push(Row::ok("script", format!("{}, run by {}", path.display(), name.to_string_lossy())));
        match next {
            Ok(next) => path = next,
            Err(row) => {
                rows.push(row);
                return rows;
            }
        }
    }
    let is_script = !rows.is_empty();
    rows.extend(of_file(&path, machine));
    // What a shell starts may well be an interpreter that is known, as with pyenv's scripts.
    if is_script && let Some(row) = rows.iter_mut().find(|row| **row == none()) {
        let found = "what the script starts is not known without running it";
        *row = Row::not_checked(row.check, found, "name that program, or a process that runs it");
    }
    rows
}

/// The file that a command's name means, all links followed.
fn find(name: &OsStr) -> Result<PathBuf, Row> {
    let shown = name.to_string_lossy();
    let found = files(name).into_iter().filter(|path| path.is_file());
    let (can_run, cannot): (Vec<_>, Vec<_>) = found.partition(|path| access(path, AccessFlags::X_OK).is_ok());
    if let Some(path) = can_run.first() {
        return Ok(path.canonicalize().unwrap_or_else(|_| path.clone()));
    }
    if let Some(path) = cannot.first() {
        let found = format!("{} cannot be run by you", path.display());
        return Err(Row::missing(CHECK, found, "make it executable (`chmod +x`), or run it with sudo"));
    }
    if name.as_bytes().contains(&b'/') {
        return Err(Row::missing(CHECK, format!("there is no program {shown}"), "correct its path"));
    }
    let next = "give its path; sudo has another PATH than you: `sudo env PATH=\"$PATH\" cowtrace doctor …`";
    Err(Row::missing(CHECK, format!("there is no {shown} in PATH"), next))
}

/// What the first line of a script runs: its first word, or what `env` is to look for.
fn run_by(words: &[OsString]) -> Option<OsString> {
    let (first, rest) = words.split_first()?;
    if Path::new(first).file_name() != Some(OsStr::new("env")) {
        return Some(first.clone());
    }
    let is_name = |word: &&OsString| !word.as_bytes().starts_with(b"-") && !word.as_bytes().contains(&b'=');
    rest.iter().find(is_name).cloned()
}

fn of_file(path: &Path, machine: &Machine) -> Vec<Row> {
    let object = match Object::open(path) {
        Ok(object) => object,
        Err(error @ ObjectError::Open { .. }) => {
            return vec![Row::not_checked(CHECK, chain(&error), "run it with sudo")];
        }
        Err(error) => {
            let next = "its faults are counted, nothing in it is named: use a program for x86-64";
            return vec![Row::limited(CHECK, error.to_string(), next)];
        }
    };
    let mut rows = vec![Row::ok(CHECK, path.display().to_string())];
    if let Some(found) = interp::in_file(&object, path) {
        rows.extend(of_interpreter(&found, machine));
        rows.push(names(Some(&object), path));
        return rows;
    }
    let libraries = object.libraries().unwrap_or_default();
    let library = libraries.needed.iter().find(|name| name.as_os_str().as_bytes().starts_with(b"libpython"));
    match library.map(|name| (name, search(name, &libraries, path, &folders()))) {
        None => rows.extend([none(), names(Some(&object), path)]),
        Some((_, Some(library))) => {
            let in_library = Object::open(&library);
            let found = in_library.as_ref().ok().and_then(|object| interp::in_file(object, &library));
            rows.extend(found.map_or_else(|| vec![none()], |found| of_interpreter(&found, machine)));
            rows.push(names(Some(&object), path));
            rows.push(names(in_library.as_ref().ok(), &library));
        }
        Some((name, None)) => {
            let found = format!("it asks for {}, which is in none of the usual places", name.display());
            let next = "set LD_LIBRARY_PATH as it has it, or name a process that runs it";
            rows.extend([Row::not_checked("interpreter", found, next), names(Some(&object), path)]);
        }
    }
    rows
}

fn of_interpreter(found: &InFile, machine: &Machine) -> Vec<Row> {
    match &found.language {
        Ok(language) => known(&found.interpreter, *language, machine),
        Err(reason) => vec![unknown(&found.interpreter, reason)],
    }
}

/// An error with its cause.
fn chain(error: &ObjectError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// The file of a library that a program asks for, in the order in which the loader looks.
fn search(name: &Path, libraries: &Libraries, program: &Path, folders: &[PathBuf]) -> Option<PathBuf> {
    let origin = program.parent().unwrap_or(Path::new("/"));
    let own = libraries.folders.iter().map(|folder| replaced(folder, origin));
    let mut paths = own.chain(folders.iter().cloned()).map(|folder| folder.join(name));
    let found = paths.find(|path| path.is_file())?;
    Some(found.canonicalize().unwrap_or(found))
}

/// A folder with the program's own in place of `$ORIGIN`.
fn replaced(folder: &Path, origin: &Path) -> PathBuf {
    for variable in ["$ORIGIN", "${ORIGIN}"] {
        if let Ok(rest) = folder.strip_prefix(variable) {
            return origin.join(rest);
        }
    }
    folder.to_owned()
}

/// Folders in which the loader looks for every program.
fn folders() -> Vec<PathBuf> {
    let asked = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&asked).filter(|folder| folder.is_absolute()).collect();
    folders.extend(configured(Path::new(LOADER_SETTINGS)));
    folders.extend(DEFAULT_FOLDERS.map(PathBuf::from));
    folders
}

/// Folders that a loader's settings name, with those of the files that they include: `include FOLDER/*.conf`.
fn configured(settings: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in fs::read_to_string(settings).unwrap_or_default().lines().map(str::trim) {
        if line.starts_with('/') {
            found.push(line.into());
            continue;
        }
        let Some(pattern) = line.strip_prefix("include ").map(|pattern| Path::new(pattern.trim())) else {
            continue;
        };
        let included = pattern.parent().filter(|_| pattern.file_name() == Some(OsStr::new("*.conf")));
        let entries = included.and_then(|folder| folder.read_dir().ok()).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.retain(|file| file.extension() == Some(OsStr::new("conf")));
        files.sort();
        for file in files {
            let text = fs::read_to_string(file).unwrap_or_default();
            found.extend(text.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_is_run_by() {
        let run = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            run_by(&words).map(|name| name.into_string().unwrap())
        };
        assert_eq!(run("/usr/bin/python3 -u").as_deref(), Some("/usr/bin/python3"));
        assert_eq!(run("/usr/bin/env python3").as_deref(), Some("python3"));
        assert_eq!(run("/usr/bin/env -S A=1 python3 -u").as_deref(), Some("python3"));
        assert_eq!(run("/usr/bin/env"), None);
        assert_eq!(run_by(&[]), None);
    }

    #[test]
    fn where_libraries_are() {
        let folder = std::env::temp_dir().join(format!("cowtrace-loader-{}", std::process::id()));
        let (bin, lib, more) = (folder.join("bin"), folder.join("lib"), folder.join("more"));
        for folder in [&bin, &lib, &more] {
            fs::create_dir_all(folder).unwrap();
        }
        let settings = folder.join("ld.so.conf");
        fs::write(
            &settings,
            format!("# words\n/first\ninclude {}/*.conf\ninclude /no/such/*.conf\n", more.display()),
        )
        .unwrap();
        fs::write(more.join("b.conf"), "/second\n").unwrap();
        fs::write(more.join("a.conf"), format!("hwcap 1\n{}\n", more.display())).unwrap();
        let folders = configured(&settings);
        assert_eq!(folders, [Path::new("/first"), more.as_path(), Path::new("/second")]);

        let (name, program) = (Path::new("libpython3.so"), bin.join("x"));
        let libraries = Libraries { needed: Vec::new(), folders: vec!["$ORIGIN/../lib".into()] };
        assert_eq!(search(name, &libraries, &program, &folders), None);
        fs::write(more.join(name), "").unwrap();
        assert_eq!(
            search(name, &libraries, &program, &folders),
            Some(more.join(name).canonicalize().unwrap())
        );
        fs::write(lib.join(name), "").unwrap();
        assert_eq!(
            search(name, &libraries, &program, &folders),
            Some(lib.join(name).canonicalize().unwrap())
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
