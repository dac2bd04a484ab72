//! The log by itself; that it is told the truth, short-lived programs show.

use super::*;

fn mapping(start: u64, end: u64, kind: Kind) -> Mapping {
    let path = (kind == Kind::File).then(|| "/lib/a.so".into());
    Mapping {
        start,
        end,
        offset: 0,
        readable: true,
        writable: true,
        executable: false,
        shared: false,
        device: (1, 2),
        inode: 3,
        kind,
        path,
        deleted: false,
    }
}

fn log(entries: &[(u32, u64, Option<Mapping>)]) -> MmapLog {
    let log = MmapLog::default();
    for (pid, time, entry) in entries {
        log.lock().add(*pid, *time, entry.clone().map_or(Entry::Exec, Entry::Mapped));
    }
    log
}

const ONLY: Life = Life { pid: 7, from: 0, until: u64::MAX };

/// What is mapped over something cuts it, and its rest keeps its place in the file.
#[test]
fn later_mappings_lie_above() {
    let log = log(&[
        (7, 1, None),
        (7, 2, Some(mapping(0x1000, 0x9000, Kind::File))),
        (7, 3, Some(mapping(0x3000, 0x4000, Kind::Anonymous))),
    ]);
    let maps = log.maps(&[ONLY], 5).unwrap();
    let seen: Vec<_> = maps.iter().map(|m| (m.start, m.end, m.offset, m.kind.clone())).collect();
    let expected = [
        (0x1000, 0x3000, 0, Kind::File),
        (0x3000, 0x4000, 0, Kind::Anonymous),
        (0x4000, 0x9000, 0x3000, Kind::File),
    ];
    assert_eq!(seen, expected);
}

/// An image begins at its exec, also when the news of two CPUs came in the other order, and ends at the next.
#[test]
fn images_are_told_apart() {
    let log = log(&[
        (7, 30, Some(mapping(0x3000, 0x4000, Kind::File))),
        (7, 1, None),
        (7, 2, Some(mapping(0x1000, 0x2000, Kind::File))),
        (7, 29, None),
        (7, 60, None),
        (7, 61, Some(mapping(0x5000, 0x6000, Kind::File))),
    ]);
    let at = |image| {
        let maps = log.maps(&[ONLY], image).unwrap();
        maps.iter().map(|mapping| mapping.start).collect::<Vec<_>>()
    };
    assert_eq!(at(4), [0x1000]);
    assert_eq!(at(31), [0x3000]);
    assert_eq!(at(62), [0x5000]);
}

/// A child has what its parent had at the fork, and its own; one that mapped nothing has its parent's.
#[test]
fn forks_inherit() {
    let log = log(&[
        (7, 1, None),
        (7, 2, Some(mapping(0x1000, 0x2000, Kind::File))),
        (7, 20, Some(mapping(0x8000, 0x9000, Kind::Anonymous))),
        (8, 11, Some(mapping(0x3000, 0x4000, Kind::Anonymous))),
    ]);
    let parent = Life { pid: 7, from: 0, until: 10 };
    let of = |pid| {
        let maps = log.maps(&[parent, Life { pid, from: 10, until: u64::MAX }], 3).unwrap();
        maps.iter().map(|mapping| mapping.start).collect::<Vec<_>>()
    };
    assert_eq!(of(8), [0x1000, 0x3000]);
    assert_eq!(of(9), [0x1000]);
}

/// What is not known whole is not answered for.
#[test]
fn no_answer_from_a_part() {
    let log = log(&[(7, 2, Some(mapping(0x1000, 0x2000, Kind::File)))]);
    assert_eq!(log.maps(&[ONLY], 5), None, "no exec");
    assert_eq!(log.maps(&[Life { pid: 70, ..ONLY }], 5), None, "nothing");
    let busy = MmapLog::default();
    busy.lock().add(7, 0, Entry::Exec);
    for time in 1..=MOST_OF_ONE as u64 {
        busy.lock().add(7, time, Entry::Mapped(mapping(0x1000, 0x2000, Kind::File)));
    }
    assert_eq!(busy.maps(&[ONLY], 5), None, "too much of it");
    assert_eq!(busy.lock().entries, 0);
}

/// The stack reaches down to what lies below it, but not without end.
#[test]
fn stacks_grow() {
    let log = log(&[
        (7, 1, None),
        (7, 2, Some(mapping(0x7000_0000, 0x7000_1000, Kind::Anonymous))),
        (7, 3, Some(mapping(0x7010_0000, 0x7012_0000, Kind::Stack))),
    ]);
    let maps = log.maps(&[ONLY], 5).unwrap();
    assert_eq!(maps.find(0x700f_0000).unwrap().kind, Kind::Stack);
    assert_eq!(maps.find(0x7000_0fff).unwrap().kind, Kind::Anonymous);
    let mut alone = [mapping(0x7010_0000, 0x7012_0000, Kind::Stack)];
    grow_stack(&mut alone);
    assert_eq!(alone[0].start, 0x7010_0000 - STACK);
}

/// Processes of the tree are kept while they live; others, and the dead, for a while.
#[test]
fn what_nobody_asks_for_is_forgotten() {
    let log = log(&[(7, 1, None), (8, 1, None), (9, 2 * KEPT, None)]);
    log.follow(7);
    log.lock().tidy(2 * KEPT);
    let known = |pid| log.lock().processes.contains_key(&pid);
    assert!(known(7) && !known(8) && known(9));
    log.ended(7);
    log.lock().tidy(2 * KEPT);
    assert!(!known(7));
    assert_eq!(log.lock().entries, 1);
}
