//! Any bytes as the line table of a code object.

use arbitrary::Unstructured;

use super::layout::{LAYOUTS, PYTHON_3_11};
use super::lines::{linetable, lnotab, locations};
use crate::interp::{CodeFacts, Language as _};

/// Lines that one entry of a table of pairs steps over at most, and one byte of a location table: 30 bits in 5 bytes.
const STEP_OF_PAIR: i64 = 128;
const STEP_OF_BYTE: i64 = 1 << 31;

/// A line is no further from the function's first than the table's length allows, and of a table that is cut the lines are
/// those of the whole, or none.
pub(crate) fn lines(bytes: &[u8]) {
    let mut given = Unstructured::new(bytes);
    let Ok((first, offset, cut)) = given.arbitrary::<(i32, u16, u16)>() else { return };
    let (offset, table) = (u32::from(offset), given.take_rest());
    let part = &table[..usize::from(cut).min(table.len())];
    let near = |line: Option<u32>, step: i64| {
        let away = line.map_or(0, |line| (i64::from(line) - i64::from(first)).abs());
        assert!(away <= step * table.len() as i64, "{line:?} from {first}");
        assert_ne!(line, Some(0));
    };
    near(lnotab(table, first, offset), STEP_OF_PAIR);
    for (read, step) in [(linetable as fn(&[u8], i32, u32) -> _, STEP_OF_PAIR), (locations, STEP_OF_BYTE)] {
        let line = read(table, first, offset);
        near(line, step);
        let of_part = read(part, first, offset);
        assert!(of_part.is_none() || of_part == line, "{of_part:?} and {line:?}");
    }
    let code = CodeFacts { address: 0x1000, first_line: first, lines: table };
    for layout in LAYOUTS {
        for at in [offset.into(), 0x1000 + u64::from(offset), u64::MAX - u64::from(offset)] {
            let facts = layout.frame(&layout.plan, &code, at);
            assert!(!facts.entry || facts.line == u32::try_from(first).ok());
        }
    }
    let start = 0x1000 + u64::from(PYTHON_3_11.plan.code_bytecode);
    let frame = PYTHON_3_11.frame(&PYTHON_3_11.plan, &code, start + u64::from(offset));
    assert_eq!(frame.line, locations(table, first, offset));
}
