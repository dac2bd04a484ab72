//! Whether debug information can be handed to the symbolizer.
//!
//! That reads entries by recursion and keeps what it has read: entries nested deeply enough would overflow its stack, which
//! ends the program, and a few bytes each make many functions. So files that somebody may have made for it are read once
//! before. What is left to them is to cost time and memory, once and within the bounds below; see [`super::elf`] for what is done then.

use std::fs::File;

use gimli::{DebugAbbrev, DebugInfo, EndianSlice, LittleEndian};

use crate::process::object::Object;

/// Bytes of all sections with debug information, none of them compressed.
const MOST_BYTES: u64 = 1 << 30;
/// Bytes of the entries, of their forms, and of the instructions that make lines.
const MOST_IN_SECTION: u64 = 256 << 20;
/// Levels of entries inside each other: namespaces, types, functions and what is inlined in them.
const MOST_LEVELS: isize = 512;
/// Functions, inlined ones included.
const MOST_FUNCTIONS: usize = 8 << 20;
/// Compiled files.
const MOST_UNITS: usize = 1 << 20;
/// Forms of entries, counted again for each compiled file.
const MOST_FORMS: usize = 32 << 20;

/// Whether there is debug information in the file, and within bounds.
pub(super) fn is_bounded(object: &Object) -> bool {
    object.has_section(".debug_info") && object.debug_bytes() <= MOST_BYTES
}

/// Whether it is sound besides, as far as its structure goes.
pub(super) fn is_sound(object: &Object, file: &File) -> bool {
    let content = |name| object.section_content(file, name, MOST_IN_SECTION);
    let (Some(entries), Some(forms)) = (content(".debug_info"), content(".debug_abbrev")) else {
        return false;
    };
    check(&entries, &forms).unwrap_or(false)
}

pub(super) fn check(entries: &[u8], forms: &[u8]) -> gimli::Result<bool> {
    let (info, abbreviations) =
        (DebugInfo::new(entries, LittleEndian), DebugAbbrev::<EndianSlice<'_, _>>::new(forms, LittleEndian));
    let (mut units, mut functions, mut kinds) = (0, 0, 0);
    let mut headers = info.units();
    let mut last = None;
    while let Some(unit) = headers.next()? {
        let offset = unit.debug_abbrev_offset();
        // Files often share their forms.
        if last.as_ref().is_none_or(|(known, _)| *known != offset) {
            last = Some((offset, unit.abbreviations(&abbreviations)?));
        }
        let Some((_, known)) = &last else { return Ok(false) };
        let mut raw = unit.entries_raw(known, None)?;
        let mut most_code = 0;
        while !raw.is_empty() {
            let level = raw.next_depth();
            let Some(form) = raw.read_abbreviation()? else { continue };
            most_code = most_code.max(form.code());
            let function = matches!(form.tag(), gimli::DW_TAG_subprogram | gimli::DW_TAG_inlined_subroutine);
            functions += usize::from(function);
            if level > MOST_LEVELS || functions > MOST_FUNCTIONS {
                return Ok(false);
            }
            raw.skip_attributes(form.attributes())?;
        }
        units += 1;
        // Compilers number forms from 1 on.
        kinds += usize::try_from(most_code).unwrap_or(usize::MAX).min(forms.len());
        if units > MOST_UNITS || kinds > MOST_FORMS {
            return Ok(false);
        }
    }
    Ok(units > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forms: 1 = a compiled file with entries in it, 2 = a function with entries in it, 3 = a function without.
    const FORMS: &[u8] = &[1, 0x11, 1, 0, 0, 2, 0x2e, 1, 0, 0, 3, 0x2e, 0, 0, 0, 0];

    fn unit(entries: &[u8]) -> Vec<u8> {
        let rest = u32::try_from(entries.len() + 7).unwrap();
        [&rest.to_le_bytes()[..], &[4, 0], &[0; 4], &[8], entries].concat()
    }

    #[test]
    fn structure() {
        assert_eq!(check(&unit(&[1, 3, 3, 0]), FORMS), Ok(true));
        assert_eq!(check(&[], FORMS), Ok(false), "no file");
        let deep = |levels: usize| unit(&[vec![1], vec![2; levels], vec![0; levels + 1]].concat());
        assert_eq!(check(&deep(100), FORMS), Ok(true));
        assert_eq!(check(&deep(1_000_000), FORMS), Ok(false), "one inside the other");
        let many = unit(&[vec![1], vec![3; MOST_FUNCTIONS + 1], vec![0]].concat());
        assert_eq!(check(&many, FORMS), Ok(false));
        assert!(check(&unit(&[1, 9, 0]), FORMS).is_err(), "a form that there is not");
        assert!(check(&unit(&[1, 3, 3, 0])[..9], FORMS).is_err(), "cut");
    }
}
