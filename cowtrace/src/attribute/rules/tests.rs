use bytemuck::Zeroable as _;
use cowtrace_ebpf::event::{IMAGE_BEFORE, Image};

use super::*;
use crate::attribute::{KnownType, ModuleEntry, Types};

/// `Py_TPFLAGS_HAVE_GC`.
const GC: u64 = 1 << 14;
/// Addresses of types.
const STR: u64 = 0x7f00_0000_1000;
const TUPLE: u64 = 0x7f00_0000_2000;
/// Where something is written.
const AT: u64 = 0x7f00_1234_5678;

fn types() -> Types {
    let known = |name: &str, flags| KnownType { name: name.to_owned(), flags };
    Types::from([((1, STR), known("str", 0)), ((1, TUPLE), known("tuple", GC))])
}

/// Memory around [`AT`]: the word itself and those behind it.
fn image(words: &[u64]) -> Image {
    let mut image = Image::zeroed();
    image.address = AT - IMAGE_BEFORE;
    image.len = 64;
    for (word, into) in words.iter().zip(&mut image.words[3..]) {
        *into = *word;
    }
    image
}

fn evidence<'a>(image: &'a Image, types: &'a Types) -> Evidence<'a> {
    Evidence { image: Some(image), ..Evidence::of_nothing(AT, types) }
}

fn judged(words: &[u64]) -> (String, Option<String>) {
    let (image, types) = (image(words), types());
    let write = judge(&evidence(&image, &types));
    (write.kind.to_owned(), write.of)
}

/// Names are unique, and each has a sentence.
#[test]
fn rules_are_well_formed() {
    for (index, rule) in RULES.iter().enumerate() {
        assert!(RULES[..index].iter().all(|other| other.id != rule.id), "{} twice", rule.id);
        assert!(rule.about.ends_with('.'), "{}", rule.id);
    }
}

/// A count with a type behind it is a reference count; a free list's link or a zero in its place is not.
#[test]
fn reference_counts() {
    assert_eq!(judged(&[3, STR]), ("refcount".to_owned(), Some("str".to_owned())));
    assert_eq!(judged(&[0x7f00_1234_0000, STR]).0, "unknown");
    assert_eq!(judged(&[0, STR]).0, "unknown");
    assert_eq!(judged(&[3, 0x1234]).0, "unknown");
}

/// A collector's head lies two words before an object whose type has one; a string's neighbour is no head.
#[test]
fn collector_heads() {
    assert_eq!(judged(&[9, 1, TUPLE]), ("gc_header".to_owned(), Some("tuple".to_owned())));
    assert_eq!(judged(&[9, 8, 1, TUPLE]), ("gc_header".to_owned(), Some("tuple".to_owned())));
    assert_eq!(judged(&[9, 1, STR]).0, "unknown");
}

/// Without the lock, what is counted and marked lies in the words before the type; a pointer in the place of the marks, as
/// in an array of pointers to types, makes it no object.
#[test]
fn heads_without_the_lock() {
    let (types, marks, owner) = (types(), 1 << 24 | 3 << 32, 0x7f00_aaaa_b000);
    let judged = |words: [u64; 7], address: u64| {
        let mut image = image(&[]);
        image.words[..7].copy_from_slice(&words);
        let write = judge(&Evidence { address, type_distance: 24, ..evidence(&image, &types) });
        (write.kind, write.of)
    };
    // The written word is the fourth.
    let in_second = [0, 0, owner, marks, 0, TUPLE, 0];
    let of_tuple = Some("tuple".to_owned());
    assert_eq!(judged(in_second, AT + 3), ("gc_header", of_tuple.clone()));
    assert_eq!(judged(in_second, AT + 4), ("refcount", of_tuple.clone()));
    assert_eq!(judged(in_second, AT + 2), ("object_body", of_tuple.clone()));
    assert_eq!(judged([0, owner, marks, 4, TUPLE, 0, 0], AT), ("refcount", of_tuple.clone()));
    assert_eq!(judged([0, 0, 0, owner, marks, 4, TUPLE], AT), ("refcount", of_tuple));
    let pointer = 0x7f00_00fc_1000;
    assert_eq!(judged([pointer, pointer, pointer, pointer, pointer, TUPLE, pointer], AT + 4).0, "unknown");
}

/// An unaligned write is to neither.
#[test]
fn alignment() {
    let (image, types) = (image(&[3, STR]), types());
    let evidence = Evidence { address: AT + 1, ..evidence(&image, &types) };
    assert_eq!(judge(&evidence).kind, "unknown");
}

/// An entry of `sys.modules` is named by its key, a write by the kernel by its system call; both come before the rest.
#[test]
fn entries_and_system_calls() {
    let (image, types) = (image(&[3, STR]), types());
    let entry = ModuleEntry { key: Some("statistics".to_owned()), existing: true };
    let with_entry = Evidence { module_entry: Some(entry), ..evidence(&image, &types) };
    let write = judge(&with_entry);
    assert_eq!((write.kind, write.name.as_deref()), ("dict_entry", Some("sys.modules['statistics']")));
    let by_kernel = Evidence { kernel_mode: true, syscall: Some("read".to_owned()), ..with_entry };
    let write = judge(&by_kernel);
    assert_eq!((write.kind, write.name.as_deref()), ("kernel_copy", Some("read")));
}

/// What no rule knows says why.
#[test]
fn unknown_has_a_reason() {
    let (image, types) = (image(&[]), types());
    for region_kind in ["heap", "unknown", "special"] {
        let write = judge(&Evidence { region_kind, ..evidence(&image, &types) });
        assert_eq!(write.kind, "unknown");
        assert!(write.reason.is_some_and(|reason| !reason.is_empty()));
    }
}
