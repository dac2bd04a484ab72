//! Allocators that a program may have instead of the C library's.

/// By the starts of the names of their files.
static FILES: &[(&str, &str)] =
    &[("libjemalloc", "jemalloc"), ("libtcmalloc", "tcmalloc"), ("libmimalloc", "mimalloc")];
/// Starts of the names of their functions, where they are part of the program.
static FUNCTIONS: &[(&str, &str)] = &[
    ("je_", "jemalloc"),
    ("_rjem_je_", "jemalloc"),
    ("tcmalloc::", "tcmalloc"),
    ("tc_", "tcmalloc"),
    ("mi_", "mimalloc"),
    ("_mi_", "mimalloc"),
];

/// The allocator that is in a file of this name.
pub(super) fn of_file(file: &[u8]) -> Option<&'static str> {
    FILES.iter().find(|(start, _)| file.starts_with(start.as_bytes())).map(|(_, name)| *name)
}

/// The allocator that a function belongs to.
pub(super) fn of_function(symbol: &str) -> Option<&'static str> {
    FUNCTIONS.iter().find(|(start, _)| symbol.starts_with(start)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(of_file(b"libjemalloc.so.2"), Some("jemalloc"));
        assert_eq!(of_file(b"libtcmalloc_minimal.so.4"), Some("tcmalloc"));
        assert_eq!(of_file(b"libc.so.6"), None);
        assert_eq!(of_function("je_arena_malloc_hard"), Some("jemalloc"));
        assert_eq!(of_function("malloc"), None);
    }
}
