//! speedscope's own format: a profile for each process, its samples by time, their weights the copied bytes.

use std::io::{self, BufWriter, Write as _};

use serde::Serialize;

use super::Format;
use super::notes::notes;
use super::stacks::{Frame, Stack, Stacks, bounded, is_copy};
use super::timeline;
use crate::record::json;
use crate::record::schema::{Process, Trace};

/// The format.
pub(super) const FORMAT: Format = Format {
    name: "speedscope",
    extensions: &["speedscope.json", "json"],
    about: "speedscope: a profile for each process, its stacks by copied bytes",
    write,
};

/// A frame of the shared table.
#[derive(Serialize)]
struct SharedFrame {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

impl From<&Frame<'_>> for SharedFrame {
    fn from(frame: &Frame<'_>) -> Self {
        Self { name: frame.name(), file: frame.file(), line: frame.line() }
    }
}

fn write(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let mut stacks = Stacks::new(trace);
    let of_processes = timeline::by_process(trace, &trace.faults, |fault| fault.process);
    out.write_all(br#"{"$schema":"https://www.speedscope.app/file-format-schema.json","exporter":"#)?;
    json::write(&mut out, &format!("cowtrace@{}", trace.header.version))?;
    out.write_all(br#","name":"#)?;
    json::write(&mut out, &name(trace))?;
    out.write_all(br#","profiles":["#)?;
    for (nth, index) in timeline::order(trace).into_iter().enumerate() {
        if nth > 0 {
            out.write_all(b",")?;
        }
        let copies = of_processes[index].iter().map(|fault| &trace.faults[*fault as usize]);
        let samples = copies.filter(|fault| is_copy(fault)).map(|fault| (stacks.of(fault), fault.bytes));
        let samples = merged(samples);
        profile(&mut out, &trace.processes[index], &stacks, &samples)?;
    }
    out.write_all(br#"],"shared":{"frames":["#)?;
    for (nth, frame) in stacks.frames().iter().enumerate() {
        if nth > 0 {
            out.write_all(b",")?;
        }
        json::write(&mut out, &SharedFrame::from(frame))?;
    }
    out.write_all(b"]}}\n")?;
    out.flush()
}

/// What is shown above the profiles, the only place for words about the whole.
fn name(trace: &Trace) -> String {
    let command = bounded(&trace.header.command.join(" "));
    format!("{command}: copied bytes. {}", notes(trace).join(" "))
}

/// Samples in their order, successive ones with the same stack as one.
fn merged(samples: impl Iterator<Item = (Stack, u64)>) -> Vec<(Stack, u64)> {
    let mut merged: Vec<(Stack, u64)> = Vec::new();
    for (stack, bytes) in samples {
        match merged.last_mut() {
            Some((last, sum)) if *last == stack => *sum += bytes,
            Some(_) | None => merged.push((stack, bytes)),
        }
    }
    merged
}

/// A process; one without copies has an empty profile, so that there is one for each.
fn profile(
    out: &mut impl io::Write,
    process: &Process,
    stacks: &Stacks<'_>,
    samples: &[(Stack, u64)],
) -> io::Result<()> {
    let name = format!("{} {} (generation {})", process.pid, bounded(&process.comm), process.generation);
    let total: u64 = samples.iter().map(|(_, bytes)| bytes).sum();
    out.write_all(br#"{"type":"sampled","name":"#)?;
    json::write(out, &name)?;
    write!(out, r#","unit":"bytes","startValue":0,"endValue":{total},"samples":["#)?;
    for (nth, (stack, _)) in samples.iter().enumerate() {
        if nth > 0 {
            out.write_all(b",")?;
        }
        json::write(out, &stacks.path(*stack))?;
    }
    out.write_all(br#"],"weights":["#)?;
    for (nth, (_, bytes)) in samples.iter().enumerate() {
        let comma = if nth > 0 { "," } else { "" };
        write!(out, "{comma}{bytes}")?;
    }
    out.write_all(b"]}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::samples::{self, written};
    use super::*;

    fn parsed(trace: &Trace) -> Value {
        serde_json::from_str(&written(&FORMAT, trace)).unwrap()
    }

    fn bytes(profile: &Value) -> u64 {
        let (samples, weights) =
            (profile["samples"].as_array().unwrap(), profile["weights"].as_array().unwrap());
        assert_eq!(samples.len(), weights.len());
        let sum = weights.iter().map(|weight| weight.as_u64().unwrap()).sum();
        assert_eq!(profile["endValue"].as_u64(), Some(sum));
        sum
    }

    /// A profile for each process in the order of the tree, with its bytes; frames have their file and line.
    #[test]
    fn profiles_are_processes() {
        let trace = samples::usual();
        let file = parsed(&trace);
        let profiles = file["profiles"].as_array().unwrap();
        let order = timeline::order(&trace);
        assert_eq!(profiles.len(), order.len());
        for (profile, index) in profiles.iter().zip(order) {
            let process = &trace.processes[index];
            assert!(profile["name"].as_str().unwrap().starts_with(&format!("{} ", process.pid)));
            let own = trace.faults.iter().filter(|fault| fault.process == index);
            assert_eq!(bytes(profile), samples::copied(own).1);
        }
        let frames = file["shared"]["frames"].as_array().unwrap();
        let first = profiles[1]["samples"][0].as_array().unwrap();
        let first: Vec<&Value> =
            first.iter().map(|at| &frames[usize::try_from(at.as_u64().unwrap()).unwrap()]).collect();
        assert_eq!(*first[1], serde_json::json!({"name": "f", "file": "/home/ann/multi.py", "line": 6}));
        assert_eq!(*first[3], serde_json::json!({"name": "refcount of str"}));
        let name = file["name"].as_str().unwrap();
        assert!(name.contains("Lost: 3 records") && name.contains("get_user_pages"), "{name}");
    }

    /// Names do no harm and have a bounded length; bytes stay.
    #[test]
    fn hostile_names() {
        let trace = samples::hostile();
        let text = written(&FORMAT, &trace);
        assert!(text.len() < 1 << 20, "{}", text.len());
        assert!(!text.trim_end().chars().any(json::is_invisible));
        let file: Value = serde_json::from_str(&text).unwrap();
        let all: u64 = file["profiles"].as_array().unwrap().iter().map(bytes).sum();
        assert_eq!(all, samples::copied(&trace.faults).1);
        assert_eq!(write(&trace, &mut samples::Full).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
