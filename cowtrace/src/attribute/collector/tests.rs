use super::*;
use crate::attribute::stack::KnownFrame;
use crate::record::schema::{PythonFrame, Table};

/// A fault of the first thread of the first process, in its first epoch.
fn seen(writer: Writer, stack_hash: u64, fault: usize) -> Seen<'static> {
    Seen {
        process: 0,
        tid: 1,
        epoch: 0,
        ip: 5,
        stack_hash,
        stack: None,
        generation: 0,
        counted: false,
        writer,
        fault,
    }
}

/// Numbers of the collections of a sequence of faults, told at once or later.
fn numbers(faults: &[Seen<'_>]) -> Vec<Option<u32>> {
    let mut collections = Collections::default();
    let mut found = vec![None; faults.len()];
    for (at, fault) in faults.iter().enumerate() {
        if let Some(member) = collections.fault(&Seen { fault: at, ..*fault }) {
            found[at] = Some(member.number);
            member.earlier.iter().for_each(|&earlier| found[earlier] = Some(member.number));
        }
    }
    found
}

/// A named collector is believed at its first write; without names it takes a run, which is then told whole.
#[test]
fn a_run_is_told_late_but_whole() {
    assert_eq!(numbers(&[seen(Writer::Collector, 9, 0)]), [Some(1)]);
    let heads = [seen(Writer::Head, 9, 0); RUN + 1];
    assert_eq!(numbers(&heads[..RUN - 1]), [None; RUN - 1]);
    assert_eq!(numbers(&heads), [Some(1); RUN + 1]);
}

/// Another stack in between begins a new run; another thread does not.
#[test]
fn a_run_is_one_thread_under_one_stack() {
    let mut faults = Vec::new();
    for _ in 0..RUN {
        faults.push(seen(Writer::Other, 8, 0));
        faults.push(seen(Writer::Head, 9, 0));
    }
    assert_eq!(numbers(&faults), vec![None; faults.len()]);
    let other = Seen { tid: 3, ..seen(Writer::Other, 8, 0) };
    let faults: Vec<_> = (0..RUN).flat_map(|_| [seen(Writer::Head, 9, 0), other]).collect();
    assert_eq!(numbers(&faults).iter().flatten().count(), RUN);
}

/// What is written between two of a collection's own writes is the collection's; what comes behind its last is not.
#[test]
fn what_lies_between_belongs_to_it() {
    let collector = seen(Writer::Collector, 9, 0);
    let other = seen(Writer::Other, 9, 0);
    assert_eq!(numbers(&[collector, other, collector, other]), [Some(1), Some(1), Some(1), None]);
    let mut many = vec![other; MOST_OUTSIDE + 1];
    many.insert(0, collector);
    many.push(collector);
    let found = numbers(&many);
    assert_eq!((found[0], found[1], found.last()), (Some(1), None, Some(&Some(2))), "too much to be its own");
}

/// A fork, another generation and another place each begin a new collection.
#[test]
fn what_separates_two() {
    let first = Seen { generation: 3, counted: true, ..seen(Writer::Collector, 9, 0) };
    let forked = Seen { epoch: 1, ..first };
    let young = Seen { generation: 1, ..first };
    let elsewhere = Seen { stack_hash: 8, ..first };
    let unknown = Seen { generation: 0, ..first };
    assert_eq!(numbers(&[first, unknown, first]), [Some(1); 3]);
    for other in [forked, young, elsewhere] {
        assert_eq!(numbers(&[first, other, first]), [Some(1), Some(2), Some(3)]);
    }
    assert_eq!(numbers(&[first, seen(Writer::Other, 7, 0), first]), [Some(1), None, Some(2)]);
}

/// Where the allocations since the last collection are counted, a run of heads after some is none: a long list of
/// neighbours that is taken apart looks the same otherwise.
#[test]
fn heads_after_allocations_are_no_collection() {
    let head = Seen { counted: true, ..seen(Writer::Head, 9, 0) };
    assert_eq!(numbers(&[head; 2 * RUN]), [None; 2 * RUN]);
    assert_eq!(numbers(&[Seen { generation: 1, ..head }; RUN]), [Some(1); RUN]);
}

/// The generation is told by whichever fault knows it.
#[test]
fn generations() {
    let mut collections = Collections::default();
    let unknown = Seen { counted: true, ..seen(Writer::Collector, 9, 0) };
    assert_eq!(collections.fault(&unknown).unwrap().generation, None);
    let known = Seen { generation: 3, ..unknown };
    assert_eq!(collections.fault(&known).unwrap().generation, Some(2));
    assert_eq!(collections.fault(&unknown).unwrap().generation, Some(2));
}

/// A finalizer's own frames, below the line that triggered the collection, do not end it and are not its writes.
#[test]
fn finalizers() {
    let frame = |place| KnownFrame {
        shown: PythonFrame {
            function: "f".into(),
            file: "a.py".into(),
            line: Some(1),
            approximate: false,
            op: None,
            ..PythonFrame::default()
        },
        library: library::Library::Own,
        imports: None,
        place,
    };
    let known = |frames| Arc::new(KnownStack::new(Table::default().intern(Vec::new()), frames, None));
    let (line, inside) = (known(vec![frame((1, 1))]), known(vec![frame((2, 2)), frame((1, 1))]));
    let collector = Seen { stack: Some(&line), ..seen(Writer::Collector, 9, 0) };
    let finalizer = Seen { stack: Some(&inside), ..seen(Writer::Other, 8, 0) };
    assert_eq!(numbers(&[collector, finalizer, collector]), [Some(1), None, Some(1)]);
}
