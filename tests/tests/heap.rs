//! What a program without interpreter writes: its own data, and what its allocator writes for it.

use std::collections::BTreeMap;

use cowtrace_tests::{Fault, Run, Traced, check, needs, programs};

/// What the program says that it wrote first to a page.
struct Expected {
    address: u64,
    kind: String,
    name: String,
}

fn expected(stdout: &str) -> Vec<Expected> {
    let notes = stdout.lines().filter_map(|line| line.strip_prefix("{\"note\":\"")?.strip_suffix("\"}"));
    let parsed = |note: &str| {
        let mut words = note.splitn(3, ' ');
        let address = words.next()?.strip_prefix("0x")?;
        let address = u64::from_str_radix(address, 16).ok()?;
        Some(Expected { address, kind: words.next()?.to_owned(), name: words.next()?.to_owned() })
    };
    notes.map(|note| parsed(note).expect("a note has three parts")).collect()
}

/// Every page that the program knows of has its word, and of the others few have none.
#[test]
fn words_of_a_heap() {
    if !needs::tracing() {
        return;
    }
    let Traced { trace, finished } = Run::new(programs::built("heap")).arg("written").trace();
    check::nothing_lost(&trace);
    check::totals_add_up(&trace);
    let expected = expected(&finished.stdout_text());
    assert_eq!(expected.len(), 9);
    let child = trace.processes.iter().find(|process| process.generation == 1).expect("it forks");
    let copies: Vec<&Fault> = trace.faults_of(child.pid).filter(|fault| fault.bytes > 0).collect();
    for Expected { address, kind, name } in &expected {
        let first = copies.iter().find(|fault| fault.address / 4096 == address / 4096);
        let first = first.expect("a copy of each page is there");
        let said = (first.write.kind.as_str(), first.write.name.as_deref().unwrap_or_default());
        assert!(said.0 == kind && said.1.starts_with(name.as_str()), "{kind} {name}: {first:#?}");
        if kind != "malloc" {
            assert_eq!(first.address, *address, "{first:#?}");
        }
    }
    let mut kinds: BTreeMap<(&str, Option<&str>), usize> = BTreeMap::new();
    for fault in &copies {
        *kinds.entry((&fault.write.kind, fault.write.name.as_deref())).or_default() += 1;
    }
    println!("{kinds:#?}");
    assert!(kinds.contains_key(&("c_stack", None)), "{kinds:#?}");
    assert!(kinds.contains_key(&("malloc", Some("thread cache"))), "{kinds:#?}");
    let unknown = copies.iter().filter(|fault| fault.write.kind == "unknown").count();
    assert!(unknown * 20 <= copies.len(), "{unknown} of {}: {kinds:#?}", copies.len());
}
