//! Any bytes as the kernel's types.

use super::Btf;

/// Questions that a session asks, of every kind: a member, one of an anonymous struct, an index by an enumerator.
const PATHS: [(&str, &str); 4] =
    [("task_struct", "mm"), ("mm_struct", "rss_stat[MM_ANONPAGES].count"), ("a", "b.c[1]"), ("a", "a")];

/// Types are found within the bytes, and a question about them has an answer in bounded time.
pub(crate) fn btf(bytes: &[u8]) {
    let Ok(types) = Btf::parse(bytes.to_vec()) else { return };
    // Each has at least its own three words.
    assert!(types.len() <= bytes.len() / 12 + 1 && types.is_empty() == (types.len() == 1));
    for (structure, path) in PATHS {
        let place = types.place(structure, path);
        assert_eq!(types.place(structure, path).ok(), place.ok());
    }
    let _ = types.enumerator("MM_ANONPAGES");
    let _ = types.tracepoint_arguments("a");
}
