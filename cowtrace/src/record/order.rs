//! Faults in the order of their times.

use super::schema::Fault;

/// Sorts faults by their times. A fault is written when its thread's next one begins: few come late, and only these are
/// moved about, so that no second copy of all is needed.
pub(super) fn sort(faults: &mut [Fault]) {
    let (mut late, mut kept, mut latest) = (Vec::new(), 0, 0);
    for at in 0..faults.len() {
        let fault = faults[at];
        if fault.time < latest {
            late.push(fault);
        } else {
            latest = fault.time;
            faults[kept] = fault;
            kept += 1;
        }
    }
    late.sort_by_key(|fault| fault.time);
    // From the end: what is written to has been read.
    for at in (0..faults.len()).rev() {
        let Some(last) = late.last() else { break };
        let before =
            kept.checked_sub(1).map(|before| faults[before]).filter(|before| before.time > last.time);
        match before {
            Some(before) => {
                faults[at] = before;
                kept -= 1;
            }
            None => faults[at] = late.pop().unwrap_or(faults[at]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::{Builder as Fixture, operation, page, write};

    /// However many come late, they are where they belong, and all of them are there.
    #[test]
    fn faults_that_come_late() {
        let mut b = Fixture::new(&["x"]);
        let only = b.process(None, "x", 0);
        b.faults(only, 200, &page(operation("call", ""), write("buffer", "", ""), None));
        let mut faults = b.finish().faults;
        for (shuffle, apart) in [(1, 1), (7, 1), (13, 3), (199, 2), (101, 50)] {
            for (number, fault) in (0..).zip(&mut faults) {
                fault.time = (number * shuffle % 200) / apart;
                fault.address = number;
            }
            let mut sorted = faults.clone();
            sort(&mut sorted);
            assert!(sorted.is_sorted_by_key(|fault| fault.time), "{shuffle} {apart}");
            let mut numbers: Vec<u64> = sorted.iter().map(|fault| fault.address).collect();
            numbers.sort_unstable();
            assert!(numbers.iter().copied().eq(0..200), "{shuffle} {apart}: all of them");
        }
    }
}
