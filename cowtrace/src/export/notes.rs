//! What must be known beside the numbers of an export, in sentences: what was lost, not listed, not seen.

use super::stacks::bounded;
use crate::record::schema::{Outcome, Trace};
use crate::report::numbers::{count, counted};

/// The sentences, the one about losses first. Names that stand in them are as they came, of bounded length.
pub(super) fn notes(trace: &Trace) -> Vec<String> {
    let summary = &trace.summary;
    let lost = if summary.lost == 0 {
        "Lost: nothing.".to_owned()
    } else {
        let stages = trace.losses.iter().filter(|loss| loss.count > 0 && loss.is_of_records());
        let stages: Vec<String> = stages
            .map(|loss| {
                format!("{} on CPU {} of stage {}", count(loss.count), loss.cpu, bounded(&loss.stage))
            })
            .collect();
        format!("Lost: {} ({}).", counted(summary.lost, "record"), stages.join(", "))
    };
    let totals =
        trace.processes.iter().flat_map(|process| Outcome::ALL.map(|outcome| process.totals.of(outcome)));
    let unlisted: u64 = totals.map(|total| total.unlisted).sum();
    let unlisted = (unlisted > 0).then(|| {
        let all = count(summary.faults);
        format!("Not listed: {} of {all} faults, taken before any fork or not asked for.", count(unlisted))
    });
    let callers: u64 = trace.losses.iter().filter(|loss| !loss.is_of_records()).map(|loss| loss.count).sum();
    let callers = (callers > 0).then(|| {
        format!(
            "Not recorded: the callers of {}, beyond the stacks that are copied.",
            counted(callers, "fault")
        )
    });
    [lost]
        .into_iter()
        .chain(callers)
        .chain(unlisted)
        .chain(trace.header.missing.iter().map(|sentence| bounded(sentence)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::Builder;

    /// Losses are told also when there are none.
    #[test]
    fn losses_come_first() {
        let mut b = Builder::new(&["x"]);
        let only = b.process(None, "x", 0);
        assert_eq!(notes(&b.clone().finish()), ["Lost: nothing."]);
        b.lost(only, Outcome::Copy, 2, 1);
        b.unlisted(only, Outcome::Read, 7);
        b.missing("Nobody looked.");
        let told = notes(&b.finish());
        assert_eq!(
            told,
            [
                "Lost: 2 records (2 on CPU 1 of stage ring).",
                "Not listed: 7 of 9 faults, taken before any fork or not asked for.",
                "Nobody looked.",
            ]
        );
    }
}
