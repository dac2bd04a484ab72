//! Programs, links and maps in the kernel: who holds them, and what nobody holds any more. Others may be tracing on this
//! machine, and come and go at any time.

use std::collections::HashSet;
use std::fs;

use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};
use nix::unistd::Pid;

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A program.
    Program,
    /// What attaches a program.
    Link,
    /// A map.
    Map,
}

/// Each by its kind and the kernel's number of it. Numbers are given again only when there are no others left.
pub type Loaded = HashSet<(Kind, u32)>;

/// What the file descriptors of a process hold; nothing if there is no such process.
#[must_use]
pub fn held_by(pid: Pid) -> Loaded {
    let mut held = Loaded::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        for line in text.lines() {
            let Some((name, number)) = line.split_once(':') else { continue };
            let kind = match name {
                "prog_id" => Kind::Program,
                "link_id" => Kind::Link,
                "map_id" => Kind::Map,
                _ => continue,
            };
            held.insert((kind, number.trim().parse().expect("a number")));
        }
    }
    held
}

/// Everything in the kernel, whosesoever it is.
#[must_use]
pub fn loaded() -> Loaded {
    let programs = loaded_programs().flatten().map(|program| (Kind::Program, program.id()));
    let links = loaded_links().flatten().map(|link| (Kind::Link, link.id()));
    let maps = loaded_maps().flatten().map(|map| (Kind::Map, map.id()));
    programs.chain(links).chain(maps).collect()
}

/// Names of programs and maps, by which those of any run of the same cowtrace are known.
#[derive(Debug)]
pub struct Names(HashSet<(Kind, Vec<u8>)>);

impl Names {
    /// The names of these.
    #[must_use]
    pub fn of(these: &Loaded) -> Self {
        let named = |(kind, id, name): (Kind, u32, Vec<u8>)| {
            (these.contains(&(kind, id)) && !name.is_empty()).then_some((kind, name))
        };
        Self(all_named().filter_map(named).collect())
    }

    /// How many there are of one kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.0.iter().filter(|(of, _)| *of == kind).count()
    }

    /// Programs and maps of these names that no living process holds, and what attaches such programs.
    #[must_use]
    pub fn orphans(&self) -> Loaded {
        let mut found: Loaded = all_named()
            .filter(|(kind, _, name)| self.0.contains(&(*kind, name.clone())))
            .map(|(kind, id, _)| (kind, id))
            .collect();
        let links =
            loaded_links().flatten().filter(|link| found.contains(&(Kind::Program, link.program_id())));
        let links: Vec<_> = links.map(|link| (Kind::Link, link.id())).collect();
        found.extend(links);
        // Behind the lists: what somebody loads in between is in none.
        let mut held = held_by_anybody();
        for program in loaded_programs().flatten() {
            if held.contains(&(Kind::Program, program.id())) {
                let maps = program.map_ids().ok().flatten().unwrap_or_default();
                held.extend(maps.into_iter().map(|map| (Kind::Map, map)));
            }
        }
        found.difference(&held).copied().collect()
    }
}

fn all_named() -> impl Iterator<Item = (Kind, u32, Vec<u8>)> {
    let programs = loaded_programs().flatten();
    let programs = programs.map(|program| (Kind::Program, program.id(), program.name().to_vec()));
    let maps = loaded_maps().flatten().map(|map| (Kind::Map, map.id(), map.name().to_vec()));
    programs.chain(maps)
}

fn held_by_anybody() -> Loaded {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    pids.flat_map(|pid| held_by(Pid::from_raw(pid))).collect()
}
