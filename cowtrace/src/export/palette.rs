//! Colours of kinds of operations, the same in every format that has colours of its own.

use crate::record::schema::Operation;
use crate::report::words;

/// Red, green and blue.
pub(super) type Rgb = (u8, u8, u8);

/// Kinds with colours under black letters that can be told apart: ColorBrewer's "Set3" (Apache-2.0).
pub(super) static KINDS: &[(&str, Rgb)] = &[
    ("import", (128, 177, 211)),
    ("module_swap", (251, 128, 114)),
    ("gc", (179, 222, 105)),
    ("call", (252, 205, 229)),
    ("fork_bookkeeping", (188, 128, 189)),
    ("worker_bookkeeping", (253, 180, 98)),
    ("startup", (255, 237, 111)),
    ("exit", (190, 186, 218)),
    ("native", (141, 211, 199)),
    ("kernel", (204, 235, 197)),
    ("unknown", (217, 217, 217)),
];

/// Position of a kind in [`KINDS`]; one that is not there is the last, `unknown`.
pub(super) fn position(operation: Option<&Operation>) -> usize {
    let kind = operation.map_or("unknown", |operation| operation.kind);
    KINDS.iter().position(|(name, _)| *name == kind).unwrap_or(KINDS.len() - 1)
}

/// A kind in words.
pub(super) fn words_of(position: usize) -> String {
    KINDS.get(position).map_or_else(String::new, |(kind, _)| words::operation_kind(kind))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::record::fixture::operation;

    /// No colour is there twice, black on each is legible, and what has no row is unknown.
    #[test]
    fn colours() {
        let colours: HashSet<Rgb> = KINDS.iter().map(|(_, rgb)| *rgb).collect();
        assert_eq!(colours.len(), KINDS.len());
        for (red, green, blue) in colours {
            assert!(u32::from(red) + u32::from(green) + u32::from(blue) > 3 * 128);
        }
        assert_eq!(KINDS[position(Some(&operation("gc", "")))].0, "gc");
        assert_eq!(KINDS[position(Some(&operation("dancing", "")))].0, "unknown");
        assert_eq!(KINDS[position(None)].0, "unknown");
    }
}
