//! What the processes of a tree have mapped: read where they live, remembered or told by the kernel where they are gone.

use std::sync::Arc;

use cowtrace_ebpf::state::ProcessKey;

use super::Tree;
use crate::process::maps::Maps;
use crate::process::mmap_log::Life;

/// Times that mappings are read again for one process because an address was in none of them.
const MOST_READS: u32 = 64;

/// What a process had mapped when it was last read.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// Number of this reading, to remember answers by.
    pub id: u64,
    /// The mappings.
    pub maps: Arc<Maps>,
}

impl Tree {
    /// What a process had mapped, and the file it runs, as it was seen just now. A child that is forked from here on begins
    /// with it; it may be gone before it can be asked itself.
    pub fn saw(&mut self, key: ProcessKey, maps: Arc<Maps>, exe: Option<Vec<u8>>) {
        let Some(index) = self.index(key) else { return };
        let process = &mut self.processes[index];
        // A process that forks again and again has mapped the same each time: all its children share one reading.
        if process.maps.as_ref().is_none_or(|mapped| mapped.maps != maps) {
            self.readings += 1;
            process.maps = Some(Mapped { id: self.readings, maps });
        }
        if let Some(exe) = exe {
            process.exe = exe;
        }
    }

    /// What a process has mapped, as last read; read anew if nothing is there at the address.
    pub fn maps_at(&mut self, index: usize, address: u64) -> Option<Mapped> {
        if !self.is_mapped(index, address) && self.processes[index].reads < MOST_READS {
            self.read_maps(index);
            if !self.is_mapped(index, address) {
                // Gone already? The kernel told what it mapped, or, if that was too much, what its parent has since mapped
                // was mapped before the fork, as likely as not.
                let told = self.told_maps(index, address);
                if let Some(mapped) = told.or_else(|| self.ancestors_maps(index, address)) {
                    self.processes[index].maps = Some(mapped);
                }
            }
        }
        self.processes[index].maps.clone()
    }

    fn is_mapped(&self, index: usize, address: u64) -> bool {
        self.processes[index].maps.as_ref().is_some_and(|mapped| mapped.maps.find(address).is_some())
    }

    /// What the kernel told that a process had mapped, if the address is in it.
    fn told_maps(&mut self, index: usize, address: u64) -> Option<Mapped> {
        let image = self.processes[index].image;
        let mut line = Vec::new();
        let (mut at, mut until) = (Some(index), u64::MAX);
        while let Some(process) = at.map(|at| &self.processes[at]).filter(|process| process.image == image) {
            line.push(Life { pid: process.key.pid, from: process.start, until });
            until = process.start;
            at = process.parent;
        }
        line.reverse();
        let mut maps = self.log.maps(&line, image).filter(|maps| maps.find(address).is_some())?;
        maps.name_heap(self.processes[index].heap);
        // The kernel names a file as the process sees it, in its own root; a reading, as it is seen from here.
        if let Some(read) = &self.processes[index].maps {
            maps.name_as(&read.maps);
        }
        self.readings += 1;
        Some(Mapped { id: self.readings, maps: Arc::new(maps) })
    }

    fn ancestors_maps(&mut self, index: usize, address: u64) -> Option<Mapped> {
        let image = self.processes[index].image;
        let mut ancestor = self.processes[index].parent;
        while let Some(at) = ancestor.filter(|&at| self.processes[at].image == image) {
            if self.processes[at].reads < MOST_READS {
                self.read_maps(at);
            }
            if self.is_mapped(at, address) {
                return self.processes[at].maps.clone();
            }
            ancestor = self.processes[at].parent;
        }
        None
    }

    fn read_maps(&mut self, index: usize) {
        let process = &mut self.processes[index];
        process.reads += 1;
        if process.end.is_some() {
            return;
        }
        match Maps::of(process.key.pid) {
            Ok(maps) if maps.iter().next().is_some() => {
                self.readings += 1;
                process.maps = Some(Mapped { id: self.readings, maps: Arc::new(maps) });
            }
            Ok(_) => {}
            Err(error) => log::debug!("mappings of {}: {error}", process.key.pid),
        }
    }

    /// Processes that have the same image and may still be alive, nearest first: where what a dead child inherited can
    /// still be read.
    #[must_use]
    pub fn living_relatives(&self, index: usize) -> Vec<u32> {
        let image = self.processes[index].image;
        let mut found = Vec::new();
        let mut at = Some(index);
        while let Some(process) = at.map(|at| &self.processes[at]).filter(|process| process.image == image) {
            if process.end.is_none() {
                found.push(process.key.pid);
            }
            at = process.parent;
        }
        found
    }

    /// A living process that has the file of a mapping of this one: itself, one that it was forked from, or, when they are
    /// gone, this program, for which a path means what it means here.
    #[must_use]
    pub fn witness(&self, index: usize) -> u32 {
        self.living_relatives(index).first().copied().unwrap_or_else(std::process::id)
    }
}
