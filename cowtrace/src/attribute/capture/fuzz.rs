//! Any bytes as a line of captured evidence.

use super::{Capture, Said};
use crate::attribute::rules::judge;
use crate::record::schema::WRITE_KINDS;

/// What is read is written as it was read, an answer is one of those that there are, and the same evidence has the same answer.
pub(crate) fn evidence(bytes: &[u8]) {
    let Ok(capture) = serde_json::from_slice::<Capture>(bytes) else { return };
    let written = serde_json::to_string(&capture).expect("it was read");
    let again: Capture = serde_json::from_str(&written).expect("it was written");
    assert_eq!(serde_json::to_string(&again).ok().as_ref(), Some(&written));
    let replay = capture.replay();
    let answer = judge(&replay.evidence());
    assert!(WRITE_KINDS.contains(&answer.kind), "{answer:?}");
    let replay = again.replay();
    assert_eq!(Said::of(&judge(&replay.evidence())), Said::of(&answer));
}
