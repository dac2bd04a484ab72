//! Entries of a jump table for functions of other libraries, `memcpy@plt`: they have no symbols, but each jumps to an address
//! in memory which the loader fills in, and the relocation for that names the function.

use iced_x86::{Decoder, DecoderOptions, Mnemonic};

use super::elf::clean;
use crate::memory::Memory as _;
use crate::process::object::Object;

/// The tables, and the bytes between two of their entries.
const TABLES: [(&str, u64); 4] = [(".plt.sec", 16), (".plt", 16), (".plt.got", 16), (".plt.got", 8)];

/// The name of the entry that holds an address.
pub(super) fn find(object: &Object, address: u64) -> Option<String> {
    TABLES.iter().find_map(|(name, stride)| {
        let table = object.section(name).ok()??;
        let inside = address.checked_sub(table.address).filter(|inside| *inside < table.size)?;
        let entry = table.address + inside / stride * stride;
        let function = object.relocated(target(object, entry)?)?;
        Some(format!("{}@plt", clean(&function)))
    })
}

/// Where the address is that an entry jumps to.
fn target(object: &Object, entry: u64) -> Option<u64> {
    let mut bytes = [0; 16];
    // The last entry may be shorter.
    object.read(entry, &mut bytes).or_else(|_| object.read(entry, &mut bytes[..8])).ok()?;
    let mut decoder = Decoder::with_ip(64, &bytes, entry, DecoderOptions::NONE);
    let first = decoder.decode();
    let jump = if first.mnemonic() == Mnemonic::Endbr64 { decoder.decode() } else { first };
    let jumps = jump.mnemonic() == Mnemonic::Jmp && jump.is_ip_rel_memory_operand();
    jumps.then(|| jump.ip_rel_memory_address())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A program that calls libraries has entries, and each names one of the functions that it imports.
    #[test]
    fn entries() {
        let object = Object::open(Path::new("/bin/sh")).unwrap();
        let mut found = 0;
        for name in [".plt.sec", ".plt", ".plt.got"] {
            let Ok(Some(table)) = object.section(name) else { continue };
            let names =
                (table.address..table.address + table.size).step_by(8).filter_map(|at| find(&object, at));
            for name in names {
                assert!(name.len() > "@plt".len() && name.ends_with("@plt"), "{name}");
                found += 1;
            }
            assert_eq!(find(&object, table.address.wrapping_sub(1 << 20)), None);
        }
        assert!(found > 0, "/bin/sh calls its libraries");
    }
}
