//! Makes a long recording of a short one, through the real writer: `lengthened SHORT.cow FAULTS LONG.cow`. The faults are the
//! short one's again and again, later and at other pages each time; so are the totals. For `cargo xtask bench`.
#![expect(clippy::print_stderr, reason = "a program for the command line")]

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use cowtrace::record::file::{Writer, read};
use cowtrace::record::piece::{self, Piece};
use cowtrace::record::schema::{Fault, Outcome, Trace};

/// Faults of a piece, as a session hands them on.
const PIECE: usize = 1 << 16;
/// Bytes between one time and the next.
const APART: u64 = 1 << 32;

fn main() -> ExitCode {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [short, count, long] = words.as_slice() else {
        eprintln!("usage: lengthened SHORT.cow FAULTS LONG.cow");
        return ExitCode::from(2);
    };
    let count = count.to_str().and_then(|count| count.parse().ok());
    let done =
        count.ok_or_else(|| "FAULTS is no number".to_owned()).and_then(|count| lengthen(short, count, long));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("lengthened: {why}");
            ExitCode::FAILURE
        }
    }
}

fn lengthen(short: &PathBuf, count: usize, long: &PathBuf) -> Result<(), String> {
    let opened = File::open(short).map_err(|error| error.to_string())?;
    let mut trace = read(opened, &mut |_| {}).map_err(|error| error.to_string())?.trace;
    let faults = std::mem::take(&mut trace.faults);
    let mut pieces = piece::of(&trace);
    if faults.is_empty() {
        return Err("the short recording has no faults".to_owned());
    }
    add_up(&mut trace, &faults, count);
    let duration = trace.summary.duration.max(faults[faults.len() - 1].time + 1);
    let end = pieces.split_off(3);
    pieces[2] = Piece::Processes(trace.processes.into_iter().enumerate().collect());
    let created = File::create(long).map_err(|error| error.to_string())?;
    let mut writer = Writer::start(created, long.clone()).map_err(|error| error.to_string())?;
    pieces.into_iter().for_each(|piece| writer.take(piece));
    let later = |(number, fault): (usize, &Fault)| {
        let again = (number / faults.len()) as u64;
        Fault { time: fault.time + again * duration, address: fault.address + again * APART, ..*fault }
    };
    let mut all = faults.iter().cycle().take(count).enumerate().map(later);
    loop {
        let some: Vec<Fault> = all.by_ref().take(PIECE).collect();
        if some.is_empty() {
            break;
        }
        writer.take(Piece::Faults(some));
    }
    end.into_iter().for_each(|piece| writer.take(piece));
    writer.finish().map(drop).map_err(|error| error.to_string())
}

/// Makes the totals those of the repeated faults.
fn add_up(trace: &mut Trace, faults: &[Fault], count: usize) {
    for process in &mut trace.processes {
        process.totals = cowtrace::record::schema::ProcessTotals::default();
        process.totals.outcomes =
            Outcome::ALL.into_iter().map(|outcome| (outcome, Default::default())).collect();
    }
    for fault in faults.iter().cycle().take(count) {
        let totals = &mut trace.processes[fault.process].totals;
        totals.outcomes[fault.outcome as usize].1.faults += 1;
        match fault.outcome {
            Outcome::Copy => totals.copied_bytes += fault.bytes,
            Outcome::FileCopy => totals.file_copied_bytes += fault.bytes,
            _ => {}
        }
    }
}
