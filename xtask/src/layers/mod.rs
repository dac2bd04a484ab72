//! `cargo xtask layers`: the modules of cowtrace use only what lies below them.
//!
//! The way of the data is one direction; a stage that reaches up to a later one would make a circle out of it, which
//! the compiler allows. A module may use those with a smaller number and those with its own.

mod source;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::say::say;
use crate::workspace::Workspace;

/// Every module of cowtrace; what has the same number may use each other.
const LAYERS: &[(&str, u8)] = &[
    ("arch", 1),
    ("diag", 1),
    ("page", 1),
    ("ids", 1),
    ("progress", 1),
    ("memory", 2),
    ("kernel", 2),
    ("bpf", 3),
    ("event", 4),
    ("process", 5),
    ("classify", 6),
    ("symbolize", 7),
    ("unwind", 7),
    ("interp", 7),
    ("attribute", 8),
    ("record", 9),
    ("report", 10),
    ("export", 10),
    ("session", 11),
    ("top", 11),
    ("doctor", 11),
    ("cli", 12),
    ("commands", 13),
    ("fuzz", 14),
    ("main", 14),
    // The crate's root names the modules and does nothing else.
    ("lib", 14),
];

/// The words that every stage shares. Anybody may use this part of `record`; it uses nothing of the crate.
const SCHEMA: (&str, &str) = ("record", "schema");

/// Checks all of cowtrace's modules; the violations are said one by one.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut violations = Vec::new();
    let src = workspace.join("cowtrace/src");
    for path in files(&src)? {
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let inside = path.strip_prefix(&src).unwrap_or(&path);
        for (line, sentence) in violations_of(inside, &text) {
            violations.push(format!("cowtrace/src/{}:{line}: {sentence}", inside.display()));
        }
    }
    for violation in &violations {
        say(violation);
    }
    if !violations.is_empty() {
        bail!("{} of cowtrace's uses of its own modules go up instead of down", violations.len());
    }
    Ok(())
}

fn files(src: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![src.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))? {
            let path = entry?.path();
            // `tests` beside a module are its unit tests, declared behind `#[cfg(test)]`.
            if path.file_stem().is_some_and(|stem| stem == "tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Line and sentence of each violation in one file, whose path is below `src`.
fn violations_of(path: &Path, text: &str) -> Vec<(usize, String)> {
    let module = module_of(path);
    let name = module.first().map_or("lib", String::as_str);
    let Some(own) = layer(name) else {
        return vec![(1, format!("module {name} has no number in xtask's table of layers"))];
    };
    let in_schema = is_schema(&module);
    let mut found = Vec::new();
    for (line, used) in uses(&source::code(text), module.len()) {
        let Some(target) = used.first() else { continue };
        // What is no module is an item of the crate's root, or of an inner module that `super` meant.
        let Some(number) = layer(target) else { continue };
        if is_schema(&used) {
            continue;
        }
        if in_schema {
            found.push((
                line,
                format!("record::schema uses nothing of the crate, but this is {}", used.join("::")),
            ));
        } else if number > own {
            found.push((line, format!("{name} (layer {own}) uses {} (layer {number})", used.join("::"))));
        }
    }
    found
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, number)| *number)
}

fn is_schema(path: &[String]) -> bool {
    path.len() >= 2 && (path[0].as_str(), path[1].as_str()) == SCHEMA
}

/// The module that a file holds: `record/schema.rs` and `record/schema/mod.rs` are `record::schema`.
fn module_of(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|part| part == "mod") {
        parts.pop();
    }
    parts
}

/// Paths from the crate's root that the code names, with their lines. `depth` = modules above the file, itself counted.
fn uses(code: &str, depth: usize) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let up = format!("{}super::", "super::".repeat(depth.saturating_sub(1)));
    for start in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(start) {
            // `supercrate::` is somebody else's; of `super::super::` only the whole chain counts.
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || matches!(before, '_' | ':') {
                continue;
            }
            let mut paths = Vec::new();
            tree(&code[at + start.len()..], &[], &mut paths);
            let line = code[..at].matches('\n').count() + 1;
            found.extend(paths.into_iter().map(|path| (line, path)));
        }
    }
    found.sort();
    found
}

/// Reads a path or a tree of them (`a::{b, c::d}`); returns what follows it.
fn tree<'a>(text: &'a str, prefix: &[String], paths: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(rest, prefix, paths).trim_start();
            // ` as name` is not part of the path.
            let end = rest.find([',', '}', '{', ';']).unwrap_or(rest.len());
            rest = &rest[end..];
            match rest.strip_prefix(',') {
                Some(after) if !after.trim_start().starts_with('}') => rest = after,
                Some(after) => return after.trim_start().get(1..).unwrap_or(""),
                None => return rest.get(1..).unwrap_or(""),
            }
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let mut path = prefix.to_vec();
    if !word.is_empty() && word != "self" {
        path.push(word.to_owned());
    }
    match rest.trim_start().strip_prefix("::") {
        Some(rest) if !word.is_empty() => tree(rest, &path, paths),
        _ => {
            paths.push(path);
            rest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        let found = violations_of(Path::new(path), text);
        found.into_iter().map(|(line, sentence)| format!("{line}: {sentence}")).collect()
    }

    #[test]
    fn down_and_sideways_are_allowed() {
        let text = "use crate::event::decode;\nuse crate::process;\nfn f() { crate::memory::read() }\n";
        assert!(check("classify/mod.rs", text).is_empty());
        assert!(check("report.rs", "use crate::export::jsonl;\nuse crate::{Result, diag};").is_empty());
    }

    #[test]
    fn up_is_a_violation_with_its_line() {
        assert_eq!(
            check("event/decode.rs", "\nuse crate::{\n  ids::Pid, report::{self, table::Table}};\n"),
            [
                "2: event (layer 4) uses report (layer 10)",
                "2: event (layer 4) uses report::table::Table (layer 10)"
            ]
        );
        assert_eq!(
            check("ids.rs", "fn f() -> super::bpf::Map {}"),
            ["1: ids (layer 1) uses bpf::Map (layer 3)"]
        );
        let text = "use super::super::cli::Options;\nuse super::cli;";
        assert_eq!(check("event/decode.rs", text), ["1: event (layer 4) uses cli::Options (layer 12)"]);
    }

    #[test]
    fn the_schema_is_for_everybody_and_uses_nothing() {
        assert!(check("event/mod.rs", "use crate::record::schema::Outcome;").is_empty());
        assert!(check("event/mod.rs", "use crate::record::{schema::Outcome as O, schema};").is_empty());
        assert_eq!(
            check("event/mod.rs", "use crate::record::{schema::Outcome, Table};"),
            ["1: event (layer 4) uses record::Table (layer 9)"]
        );
        assert_eq!(
            check("record/schema.rs", "use crate::ids::Pid;"),
            ["1: record::schema uses nothing of the crate, but this is ids::Pid"]
        );
        assert!(check("record/schema/write.rs", "use crate::record::schema::Kind;").is_empty());
    }

    #[test]
    fn a_module_without_a_number_is_an_error() {
        assert_eq!(check("helpers/x.rs", ""), ["1: module helpers has no number in xtask's table of layers"]);
    }

    #[test]
    fn tests_and_comments_may_name_anything() {
        let text = "//! See [`crate::cli`].\n#[cfg(test)]\nmod tests {\n    use crate::cli::Options;\n}\n";
        assert!(check("ids.rs", text).is_empty());
    }
}
