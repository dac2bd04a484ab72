//! What was written, decoded again.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;

use flate2::read::GzDecoder;

use super::*;
use crate::export::mixture::{HOSTILE, MISSING, trace};
use crate::export::samples;
use crate::report::escape::escape;

fn read_again(trace: &Trace) -> Profile {
    let (mut out, mut plain) = (Vec::new(), Vec::new());
    write(trace, &mut out).unwrap();
    GzDecoder::new(&out[..]).read_to_end(&mut plain).unwrap();
    Profile::decode(&plain[..]).unwrap()
}

fn string(profile: &Profile, position: i64) -> &str {
    &profile.string_table[usize::try_from(position).unwrap()]
}

fn label<'p>(profile: &'p Profile, sample: &Sample, key: &str) -> Option<&'p str> {
    let label = sample.label.iter().find(|label| string(profile, label.key) == key);
    label.map(|label| string(profile, label.str))
}

/// Names of a sample's functions, innermost first, each with its file and line.
fn stack<'p>(profile: &'p Profile, sample: &Sample) -> Vec<(&'p str, &'p str, i64)> {
    let at = |id: u64| usize::try_from(id).unwrap() - 1;
    let locations = sample.location_id.iter().map(|id| &profile.location[at(*id)]);
    locations
        .map(|location| {
            let function = &profile.function[at(location.line[0].function_id)];
            (string(profile, function.name), string(profile, function.filename), location.line[0].line)
        })
        .collect()
}

/// The samples add up to the kernel's totals of each process, less what is not listed.
#[test]
fn totals() {
    let trace = trace();
    let profile = read_again(&trace);
    let types: Vec<(&str, &str)> =
        profile.sample_type.iter().map(|t| (string(&profile, t.r#type), string(&profile, t.unit))).collect();
    assert_eq!(types, [("copies", "count"), ("copied", "bytes")]);
    assert_eq!(string(&profile, profile.default_sample_type), "copied");
    for process in &trace.processes {
        for outcome in [Outcome::Copy, Outcome::FileCopy] {
            let of = |sample: &&Sample| {
                label(&profile, sample, "process") == Some(&escape(&name(process)))
                    && label(&profile, sample, "outcome") == Some(&word(&outcome))
            };
            let values = |at: usize| profile.sample.iter().filter(of).map(|s| s.value[at]).sum::<i64>();
            let total = process.totals.of(outcome);
            let listed = signed(total.faults - total.unlisted - total.lost);
            assert_eq!((values(0), values(1)), (listed, listed * 4096), "{} {outcome:?}", process.pid);
        }
    }
    let comments: Vec<&str> = profile.comment.iter().map(|comment| string(&profile, *comment)).collect();
    for sentence in [MISSING, "2 on CPU 1 of stage ring", "7 of 7 file_copy faults", "2 of them lost"] {
        assert!(comments.iter().any(|comment| comment.contains(sentence)), "{sentence}: {comments:#?}");
    }
    assert_eq!(profile.time_nanos, 1_767_323_045_000_000_006);
}

/// Stacks are the write, native code with its addresses, interpreted code with its lines.
#[test]
fn stacks() {
    let profile = read_again(&trace());
    let swap = &profile.sample[0];
    let told = stack(&profile, swap);
    assert!(told[0].0.starts_with("dict entry a\\x00b") && told[0].0.len() < 4096, "{:?}", told[0].0);
    assert_eq!(
        told[1..],
        [
            ("insertdict", "/usr/lib/libpython3.11.so.1.0", 0),
            ("f;g", "/home/ann/multi.py", 9),
            ("<module>", "/home/ann/multi.py", 12),
        ]
    );
    assert_eq!(swap.value, [3, 3 * 4096]);
    assert_eq!(label(&profile, swap, "write"), Some("dict_entry"));
    assert_eq!(label(&profile, swap, "type"), Some("dict"));
    assert!(label(&profile, swap, "operation").unwrap().ends_with("日"));
    let id = swap.location_id[1];
    let native = profile.location.iter().find(|location| location.id == id).unwrap();
    let mapping = profile.mapping.iter().find(|mapping| mapping.id == native.mapping_id).unwrap();
    assert_eq!(string(&profile, mapping.filename), "/usr/lib/libpython3.11.so.1.0");
    assert_eq!(native.address - mapping.memory_start, 0x1d_0042);
    assert_eq!(string(&profile, profile.mapping[0].filename), "/usr/bin/python3");
    let without_type =
        profile.sample.iter().find(|s| label(&profile, s, "write") == Some("unknown")).unwrap();
    assert_eq!(label(&profile, without_type, "type"), None);
    assert_eq!(stack(&profile, without_type), [("unknown write", "", 0)]);
}

/// Every number names something, nothing is there twice, and mappings do not overlap.
#[test]
fn numbers() {
    let mut trace = trace();
    trace.faults[0].process = 99;
    trace.faults[1].native = Id::new(99);
    let profile = read_again(&trace);
    let strings: HashSet<&String> = profile.string_table.iter().collect();
    assert_eq!((strings.len(), profile.string_table[0].as_str()), (profile.string_table.len(), ""));
    for (nth, location) in (1..).zip(&profile.location) {
        assert_eq!(location.id, nth);
        let mapping = profile.mapping.iter().find(|mapping| mapping.id == location.mapping_id);
        assert_eq!(mapping.is_some(), location.mapping_id != 0);
        let within = |m: &proto::Mapping| (m.memory_start..m.memory_limit).contains(&location.address);
        assert!(mapping.is_none_or(within));
    }
    assert!(profile.mapping.windows(2).all(|two| two[0].memory_limit <= two[1].memory_start));
    let known: HashSet<u64> = profile.location.iter().map(|location| location.id).collect();
    for sample in &profile.sample {
        assert!(sample.location_id.iter().all(|id| known.contains(id)) && sample.value.len() == 2);
    }
    let processes: HashMap<&str, i64> = profile
        .sample
        .iter()
        .map(|sample| (label(&profile, sample, "process").unwrap(), sample.value[0]))
        .collect();
    assert!(profile.string_table.iter().all(|text| !text.contains(char::is_control)));
    assert!(
        processes.contains_key("unknown") && processes.contains_key(&*escape(&format!("7001 {HOSTILE}")))
    );
}

/// A disk that is full is that error.
#[test]
fn full() {
    assert_eq!(write(&trace(), &mut samples::Full).unwrap_err().kind(), io::ErrorKind::StorageFull);
}
