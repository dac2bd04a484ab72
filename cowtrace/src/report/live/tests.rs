use super::*;
use crate::record::piece;
use crate::record::schema;
use crate::report::tests::{options, text, traces};
use crate::report::{Options, REPORTS, write_json};

/// Pieces as a session hands them on, `each` faults at a time: what is known of the processes comes with time, totals come
/// last.
pub(crate) fn pieces(trace: &Trace, each: usize) -> Vec<Piece> {
    let mut all = piece::of(trace);
    let last = all.split_off(4);
    let (Some(Piece::Faults(faults)), Some(Piece::Processes(processes))) = (all.pop(), all.pop()) else {
        panic!("pieces come in another order");
    };
    let known_by = |time: u64| {
        let known = |(index, process): &(usize, schema::Process)| {
            let execs = process.execs.iter().copied().filter(|exec| *exec <= time).collect();
            (*index, schema::Process { execs, totals: schema::ProcessTotals::default(), ..process.clone() })
        };
        processes.iter().filter(|(_, process)| process.start <= time).map(known).collect()
    };
    for chunk in faults.chunks(each) {
        let time = chunk.last().map_or(0, |fault| fault.time);
        all.push(Piece::Processes(known_by(time)));
        all.push(Piece::Faults(chunk.to_vec()));
    }
    all.push(Piece::Processes(processes));
    all.extend(last);
    all
}

/// One that keeps few faults as they are, and no others.
fn live(latest: usize) -> Live {
    Live { latest, whole: None, ..Live::default() }
}

/// The report as JSON, but for what sums do not tell.
fn told(trace: &Trace, options: &Options<'_>) -> serde_json::Value {
    let mut out = Vec::new();
    write_json(trace, options, &mut out).unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    for field in ["forks", "latencies", "missing"] {
        value.as_object_mut().unwrap().remove(field);
    }
    // That sums were kept is said there.
    value["notes"].as_array_mut().unwrap().retain(|note| note["about"] != "not seen");
    value
}

/// However few faults are kept: what the finished report says of causes and processes is what one says that keeps all.
#[test]
fn sums_tell_the_same() {
    for (name, trace) in traces() {
        for latest in [0, 7, 1 << 20] {
            let mut live = live(latest);
            pieces(&trace, 13).into_iter().for_each(|piece| live.take(piece));
            let added_up = live.finish();
            assert!(added_up.faults.len() <= trace.faults.len().min(2 * latest + 13), "{name} {latest}");
            assert!(added_up.header.missing.iter().any(|text| text.contains("sums were kept")));
            for by in REPORTS {
                let options = Options { by, all: true, ..options() };
                assert_eq!(told(&added_up, &options), told(&trace, &options), "{name} {latest} {}", by.name);
            }
        }
    }
}

/// As long as there are not too many, the report is to the last character that of a trace which keeps all.
#[test]
fn few_faults_are_kept() {
    for (name, trace) in traces() {
        for (most, is_whole) in
            [(trace.faults.len(), true), (trace.faults.len() / 2, trace.faults.is_empty())]
        {
            let mut live = Live { latest: 0, most, ..Live::default() };
            pieces(&trace, 13).into_iter().for_each(|piece| live.take(piece));
            let kept = live.finish();
            assert_eq!(
                kept.faults.len() == trace.faults.len() && kept.alike.is_empty(),
                is_whole,
                "{name} {most}"
            );
            let options = Options { all: true, explain: true, ..options() };
            assert_eq!(text(&kept, &options) == text(&trace, &options), is_whole, "{name} {most}");
        }
    }
}

/// What is told while it runs adds up to what the finished report says.
#[test]
fn now_is_the_report() {
    for (name, trace) in traces() {
        let mut live = live(7);
        pieces(&trace, 13).into_iter().for_each(|piece| live.take(piece));
        let now = live.look(&REPORTS[0], None, None);
        let scope = Scope::new(&trace, None);
        assert_eq!(now.total, amount(&scope.total()), "{name}");
        let caused: u64 = now.causes.iter().map(|cause| cause.copied.bytes).sum();
        assert_eq!(caused + now.without_details.bytes, now.total.bytes, "{name}");
        let by_process: u64 = now.processes.iter().map(|p| p.copied.bytes + p.files.bytes).sum();
        assert_eq!(by_process, now.total.bytes, "{name}");
        let each = |index| live.look(&REPORTS[0], Some(index), None).causes;
        let apart: u64 = (0..trace.processes.len()).flat_map(each).map(|cause| cause.copied.bytes).sum();
        assert_eq!(apart, caused, "{name}");
    }
}

/// What is found out about a fault later changes its sums; what is found out too late is said.
#[test]
fn amendments() {
    let [(_, trace), ..] = traces();
    let operation = trace.faults.last().map_or(0, |fault| fault.operation.index());
    let operation = u32::try_from(operation).unwrap();
    let number = trace.faults.len() as u64;
    for (fault, unamended) in [(number - 1, false), (number - 7, false), (0, true)] {
        let mut live = live(7);
        let mut changed = trace.clone();
        if let (false, Ok(at)) = (unamended, usize::try_from(fault)) {
            changed.faults[at].operation = Id::new(operation);
        }
        for piece in pieces(&trace, 13) {
            let is_end = matches!(piece, Piece::State(_));
            if is_end {
                let amendment = piece::Amendment { fault, operation, collection: None };
                live.take(Piece::Amendments(vec![amendment]));
            }
            live.take(piece);
        }
        let added_up = live.finish();
        let missing = added_up.header.missing.iter().any(|text| text.contains("too late"));
        assert_eq!(missing, unamended, "{fault}");
        if !unamended {
            assert_eq!(told(&added_up, &options()), told(&changed, &options()), "{fault}");
        }
    }
}
