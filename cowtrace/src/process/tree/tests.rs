//! Any sequence of events leaves a tree that holds together, and says of each process what its last events said.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::*;
use crate::process::maps::Maps;

/// Numbers that no process of this machine has: nothing of them can be read.
const FIRST_PID: u32 = 1 << 30;
/// Processes that events tell of: few, so that most of them meet again.
const PROCESSES: u32 = 8;

fn key(number: u32) -> ProcessKey {
    ProcessKey {
        pid: FIRST_PID + number % PROCESSES,
        start: u64::from(number / PROCESSES % 2),
        ..ProcessKey::default()
    }
}

#[derive(Clone, Debug)]
enum Told {
    Fork { parent: ProcessKey, child: ProcessKey, flags: u32, generation: u32 },
    Exec(ProcessKey),
    Exit { process: ProcessKey, first: bool, last: bool, code: u32 },
    Attach { key: ProcessKey, parent: ProcessKey, image: u64 },
    Complete { key: ProcessKey, parent: ProcessKey },
    Ended(ProcessKey),
    Mapped(ProcessKey, u64),
    Asked(ProcessKey, u64),
}

fn process() -> impl Strategy<Value = ProcessKey> {
    (0..2 * PROCESSES).prop_map(key)
}

fn told() -> impl Strategy<Value = Told> {
    let flags = prop_oneof![Just(0), Just(fork_flag::THREAD), Just(fork_flag::SHARES_MEMORY)];
    prop_oneof![
        4 => (process(), process(), flags, 0..4_u32)
            .prop_map(|(parent, child, flags, generation)| Told::Fork { parent, child, flags, generation }),
        2 => process().prop_map(Told::Exec),
        2 => (process(), any::<(bool, bool, u32)>())
            .prop_map(|(process, (first, last, code))| Told::Exit { process, first, last, code }),
        1 => (process(), process(), 0..3_u64).prop_map(|(key, parent, image)| Told::Attach { key, parent, image }),
        1 => (process(), process()).prop_map(|(key, parent)| Told::Complete { key, parent }),
        1 => process().prop_map(Told::Ended),
        2 => (process(), 0..4_u64).prop_map(|(key, page)| Told::Mapped(key, page)),
        2 => (process(), 0..4_u64).prop_map(|(key, page)| Told::Asked(key, page)),
    ]
}

/// What a process's own events say of it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Expected {
    end: Option<u64>,
    execs: Vec<u64>,
    exit_code: Option<u32>,
    maps: Option<Arc<Maps>>,
}

fn page(number: u64) -> Arc<Maps> {
    let text = format!("{:x}-{:x} rw-p 0 0:0 0 \n", number << 12, (number + 1) << 12);
    Arc::new(Maps::parse(text.as_bytes()).unwrap())
}

fn apply(tree: &mut Tree, expected: &mut HashMap<ProcessKey, Expected>, time: u64, event: &Told) {
    let header = raw::Header { time, ..raw::Header::default() };
    match event {
        Told::Fork { parent, child, flags, generation } => {
            let (flags, generation) = (*flags, *generation);
            tree.fork(&raw::Fork {
                header,
                parent: *parent,
                child: *child,
                flags,
                generation,
                image: time,
                ..raw::Fork::default()
            });
            if flags & fork_flag::THREAD == 0 {
                let maps = expected.entry(*parent).or_default().maps.clone();
                // Whoever is forked as somebody that was there already is somebody new.
                expected.insert(*child, Expected { maps, ..Expected::default() });
            }
        }
        Told::Exec(process) => {
            tree.exec(&Exec {
                time,
                process: *process,
                heap: 0,
                comm: [b'x'; 16],
                file: b"/x".to_vec(),
                arguments: Vec::new(),
            });
            if let Some(expected) = expected.get_mut(process) {
                expected.execs.push(time);
                expected.maps = None;
            }
        }
        Told::Exit { process, first, last, code } => {
            let tid = process.pid + u32::from(!*first);
            let flags = if *last { exit_flag::LAST } else { 0 };
            tree.exit(&raw::Exit {
                header,
                process: *process,
                tid,
                code: *code,
                flags,
                ..raw::Exit::default()
            });
            if let Some(expected) = expected.get_mut(process) {
                if *first || (*last && expected.exit_code.is_none()) {
                    expected.exit_code = Some(*code);
                }
                expected.end = if *last { Some(time) } else { expected.end };
            }
        }
        Told::Attach { key, parent, image } => {
            let was_known = tree.index(*key).is_some_and(|index| tree.get(index).image != 0);
            let follows = tree.index(*parent).is_some();
            tree.attach(&Arrival {
                key: *key,
                parent: *parent,
                parent_pid: parent.pid,
                generation: 1,
                image: *image,
                comm: [b'a'; 16],
                exe: Vec::new(),
                command: Vec::new(),
                container: None,
            });
            let expected = expected.entry(*key).or_default();
            if !was_known {
                let process = tree.get(tree.index(*key).unwrap());
                assert!(process.parent.is_none() || follows);
                // It ran something else than its parent, at a time that nobody knows.
                expected.execs.clone_from(&process.execs);
                assert!(expected.execs.iter().all(|time| *time == 0));
            }
        }
        Told::Complete { key, parent } => {
            tree.complete(*key, *parent, 1);
            expected.entry(*key).or_default();
        }
        Told::Ended(key) => {
            tree.ended(*key, time);
            if let Some(expected) = expected.get_mut(key) {
                expected.end.get_or_insert(time);
            }
        }
        Told::Mapped(key, number) => {
            tree.saw(*key, page(*number), None);
            if let Some(expected) = expected.get_mut(key) {
                expected.maps = Some(page(*number));
            }
        }
        Told::Asked(key, number) => {
            let Some(index) = tree.index(*key) else { return };
            let address = number << 12;
            let before = tree.get(index).maps.as_ref().map(|mapped| Arc::clone(&mapped.maps));
            let found = tree.maps_at(index, address).map(|mapped| mapped.maps);
            if found != before {
                // Taken from a process that has the same image, because the address is in it.
                let found = found.unwrap();
                assert!(found.find(address).is_some());
                let image = tree.get(index).image;
                let has = |other: &&Process| {
                    other.image == image && other.maps.as_ref().is_some_and(|maps| maps.maps == found)
                };
                assert!(tree.processes().iter().filter(has).count() > 1);
                expected.get_mut(key).unwrap().maps = Some(found);
            }
        }
    }
}

fn holds_together(tree: &Tree, expected: &HashMap<ProcessKey, Expected>) {
    let processes = tree.processes();
    assert_eq!(processes.len(), expected.len(), "each process is there once, none without an event");
    for (index, process) in processes.iter().enumerate() {
        assert_eq!(tree.index(process.key), Some(index));
        let above = || iter::successors(Some(index), |at| processes[*at].parent);
        assert!(above().take(processes.len() + 1).count() <= processes.len(), "a circle above {index}");
        let relatives = tree.living_relatives(index);
        assert!(relatives.len() <= processes.len());
        // One that has ended may have a relative with its number: that is free again.
        assert!(process.end.is_some() || relatives.first() == Some(&process.key.pid));
        assert!(
            !tree.began(index)
                || process.parent.is_none_or(|parent| processes[parent].image != process.image)
        );
        let is = Expected {
            end: process.end,
            execs: process.execs.clone(),
            exit_code: process.exit_code,
            maps: process.maps.as_ref().map(|mapped| Arc::clone(&mapped.maps)),
        };
        assert_eq!(Some(&is), expected.get(&process.key), "{:?}", process.key);
    }
    assert_eq!(tree.all_ended(), expected.values().all(|process| process.end.is_some()));
}

proptest! {
    #[test]
    fn any_events(events in vec(told(), 1..60)) {
        let root = key(0);
        let mut tree = Tree::new(root, 1, MmapLog::default());
        let mut expected = HashMap::from([(root, Expected::default())]);
        for (time, event) in (10..).zip(&events) {
            apply(&mut tree, &mut expected, time, event);
            holds_together(&tree, &expected);
        }
    }
}
