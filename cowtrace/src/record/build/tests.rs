use super::*;

fn process(parent: Option<usize>) -> Process {
    Process { parent, ..Process::default() }
}

fn parents(builder: &Builder) -> Vec<Option<usize>> {
    builder.trace.processes.iter().map(|process| process.parent).collect()
}

/// When the fork of a parent was lost, its child may be told of first, in the same piece.
#[test]
fn a_child_that_comes_before_its_parent() {
    let mut builder = Builder::default();
    builder.take(Piece::Processes(vec![(0, process(Some(1))), (1, process(None))])).unwrap();
    assert_eq!(parents(&builder), [Some(1), None]);
    assert!(builder.take(Piece::Processes(vec![(0, process(Some(2)))])).is_err(), "nobody is there");
    assert!(builder.take(Piece::Processes(vec![(3, process(None))])).is_err(), "a gap");
}

/// Who follows parents comes to an end: nobody is their own ancestor, and nothing is taken of a piece in which somebody would be.
#[test]
fn circles() {
    let mut builder = Builder::default();
    let line = vec![(0, process(None)), (1, process(Some(0))), (2, process(Some(1)))];
    builder.take(Piece::Processes(line)).unwrap();
    for circle in [
        vec![(0, process(Some(0)))],
        vec![(0, process(Some(2)))],
        vec![(3, process(Some(3)))],
        vec![(3, process(Some(2))), (0, process(Some(3)))],
        vec![(3, process(Some(4))), (4, process(Some(3)))],
        vec![(1, process(Some(2))), (2, process(Some(1))), (3, process(Some(1)))],
    ] {
        assert!(builder.take(Piece::Processes(circle.clone())).is_err(), "{circle:?}");
        assert_eq!(parents(&builder), [None, Some(0), Some(1)]);
    }
    builder.take(Piece::Processes(vec![(2, process(None)), (0, process(Some(2)))])).unwrap();
    assert_eq!(parents(&builder), [Some(2), Some(0), None]);
}

/// Totals that nobody can have counted are none, whoever adds them up; told again they count once.
#[test]
fn absurd_totals() {
    let counting = |faults| {
        let total = OutcomeTotal { faults, ..OutcomeTotal::default() };
        let totals = ProcessTotals { outcomes: vec![(Outcome::Copy, total)], ..ProcessTotals::default() };
        Process { totals, ..Process::default() }
    };
    let mut builder = Builder::default();
    for _ in 0..3 {
        builder.take(Piece::Processes(vec![(0, counting(1 << 61))])).unwrap();
    }
    assert!(builder.take(Piece::Processes(vec![(1, counting(u64::MAX))])).is_err());
    assert!(builder.take(Piece::Processes(vec![(1, counting((1 << 61) + 1))])).is_err());
    let losses = vec![Loss { stage: "ring".to_owned(), cpu: 0, count: u64::MAX }];
    assert!(builder.take(Piece::State(State { losses, ..State::default() })).is_err());
    assert_eq!(builder.finish(None).summary.faults, 1 << 61);
}
