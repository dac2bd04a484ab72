//! The tables of the files that processes have mapped, read once for each file.

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::table::{Section, Table};
use super::vdso;
use crate::process::maps::{Kind, Mapping};
use crate::process::object::{self, MAX_TABLE, Object, Place};

/// Files whose tables are kept; those of further ones are not read.
const MAX_FILES: usize = 512;
/// Bytes of all tables that are kept.
const MAX_BYTES: u64 = 512 << 20;
/// Functions that run an interpreter's frames: CPython's (`Python/ceval.c`).
const LOOPS: [&str; 1] = ["_PyEval_EvalFrameDefault"];

/// Which file a mapping shows.
type Key = ((u32, u32), u64, Option<PathBuf>);

/// Tables by file.
#[derive(Debug, Default)]
pub struct Tables {
    files: HashMap<Key, Option<File>>,
    vdso: Option<Option<Table>>,
    bytes: u64,
}

#[derive(Debug)]
struct File {
    object: Object,
    table: Table,
}

impl Tables {
    /// The table for the code of a mapping, and what its addresses are off by; `None` = the file has none, or it could not be
    /// read. The file is opened at the first question about it.
    pub(super) fn of(&mut self, pid: u32, mapping: &Mapping) -> Option<(&mut Table, u64)> {
        if mapping.kind != Kind::File {
            return Some((self.vdso.get_or_insert_with(vdso::table).as_mut()?, mapping.start));
        }
        let key = (mapping.device, mapping.inode, mapping.path.clone());
        if !self.files.contains_key(&key) {
            if self.files.len() >= MAX_FILES {
                return None;
            }
            match self.read(pid, mapping) {
                Ok(file) => self.files.insert(key.clone(), file),
                // A failure to open is not remembered: another process may still show the file.
                Err(error) => {
                    log::debug!("no unwind information: {error}");
                    return None;
                }
            };
        }
        let file = self.files.get_mut(&key)?.as_mut()?;
        Some((&mut file.table, file.object.bias(mapping)?))
    }

    fn read(&mut self, pid: u32, mapping: &Mapping) -> Result<Option<File>, object::ObjectError> {
        let file = object::open_mapped(pid, mapping)?;
        let Ok(object) = Object::of_mapping(pid, mapping) else { return Ok(None) };
        let mut load = |place: Place| {
            if place.size > MAX_TABLE || self.bytes + place.size > MAX_BYTES {
                log::info!("the unwind information of {:?} is too large to be read", mapping.path);
                return None;
            }
            let mut bytes = vec![0; usize::try_from(place.size).ok()?];
            file.read_exact_at(&mut bytes, object.offset_of(place.address)?).ok()?;
            self.bytes += place.size;
            Some(Section { address: place.address, bytes })
        };
        let header = object.unwind_index().and_then(&mut load);
        let frames = object.section(".eh_frame").ok().flatten().or_else(|| {
            // Without section headers: from where the index says to the end of what is loaded there.
            let header = header.as_ref()?;
            let address = frames_of(header)?;
            Some(Place { address, size: object.loaded_behind(address)? })
        });
        let interpreter = || {
            let [found] = object.symbols(LOOPS).ok()?;
            found.map(|place| (place.address, place.size))
        };
        let Some(frames) = frames.and_then(&mut load) else { return Ok(None) };
        let table = Table::new(frames, header, interpreter());
        Ok(Some(File { object, table }))
    }
}

/// Where the index says that its table begins.
fn frames_of(header: &Section) -> Option<u64> {
    let bases = gimli::BaseAddresses::default().set_eh_frame_hdr(header.address);
    let parsed = gimli::EhFrameHdr::new(&header.bytes, gimli::LittleEndian).parse(&bases, 8).ok()?;
    parsed.eh_frame_ptr().direct().ok()
}
