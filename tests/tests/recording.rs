//! Recordings: kept, cut off, damaged, read by others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use cowtrace_tests::binary::cowtrace;
use cowtrace_tests::{Run, Trace, check, needs, programs, seed};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::with_prefix("cowtrace-test-").expect("a temporary folder")
}

/// What a subcommand leaves.
struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

fn told(command: &mut Command) -> Told {
    let output = command.stdin(Stdio::null()).output().expect("cowtrace runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Told {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn on(subcommand: &str, file: &Path) -> Command {
    let mut command = Command::new(cowtrace());
    command.arg(subcommand).arg(file);
    command
}

fn info(file: &Path) -> Value {
    let told = told(on("info", file).arg("--json"));
    assert_eq!(told.code, 0, "{}", told.stderr);
    serde_json::from_str(&told.stdout).expect("JSON")
}

/// One clear sentence, no control character, status 125.
fn refused(command: &mut Command, with: &str) {
    let told = told(command);
    assert_eq!((told.code, told.stdout.as_str()), (125, ""), "{}", told.stderr);
    assert!(told.stderr.contains(with), "{}", told.stderr);
    assert_eq!(told.stderr.lines().count(), 1, "{}", told.stderr);
    assert!(!told.stderr.trim_end().contains(char::is_control), "{:?}", told.stderr);
}

/// A recording of the seed's script 4.
fn script_4(folder: &Path) -> PathBuf {
    let file = folder.join("run.cow");
    let script = seed::script("4_import_in_worker");
    let finished = Run::new("/usr/bin/python3").arg(&script).flag("-o").flag(&file).flag("-q").cowtrace();
    assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
    file
}

/// How many whole blocks a file has, and where the last ends, by its own words: heads of 24 bytes with the length of what
/// follows in bytes 8 to 12, behind a start of 16.
fn blocks(content: &[u8]) -> (u64, usize) {
    let (mut count, mut at) = (0, 16);
    while let Some(len) = content.get(at + 8..at + 12) {
        let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
        if at + 24 + len > content.len() {
            break;
        }
        count += 1;
        at += 24 + len;
    }
    (count, at)
}

/// The same report from the recording as from the live trace; everything adds up; a stranger can read it.
#[test]
fn kept_and_shown() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let file = folder.path().join("run.cow");
    let live = Run::new(programs::built("bench_cow")).arg("4").arg("2000").flag("-o").flag(&file).cowtrace();
    assert_eq!(live.code(), 0, "{}", live.stderr_text());
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);

    let report = told(&mut on("report", &file));
    assert_eq!((report.code, report.stderr.as_str()), (0, ""));
    assert_eq!(report.stdout.trim(), live.stderr_text().trim(), "live and from the file");

    // The copy has another owner, and nothing of the machine is needed beside it.
    let copy = folder.path().join("copy.cow");
    fs::copy(&file, &copy).expect("a copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).expect("permissions");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    let mut stranger = Command::new("setpriv");
    stranger.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(readable_cowtrace(folder.path()));
    let stranger = told(stranger.arg("report").arg(&copy));
    assert_eq!((stranger.code, stranger.stderr.as_str()), (0, ""));
    assert_eq!(stranger.stdout, report.stdout);

    let lines = folder.path().join("run.jsonl");
    let exported = told(on("export", &file).arg("-o").arg(&lines));
    assert_eq!((exported.code, exported.stderr.as_str()), (0, ""));
    let trace = Trace::read(&lines);
    check::totals_add_up(&trace);
    check::nothing_lost(&trace);
    assert_eq!(info(&file)["faults"], trace.faults.len());
    assert_eq!(info(&file)["whole"], true);
}

/// The binary where somebody without rights can run it.
fn readable_cowtrace(folder: &Path) -> PathBuf {
    let copy = folder.join("cowtrace");
    if !copy.exists() {
        fs::copy(cowtrace(), &copy).expect("a copy of the binary");
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    copy
}

/// Killed at any moment, the recorder leaves whole blocks, and the program runs on and ends as it would have.
#[test]
fn killed_recorder() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let mut seed =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |now| now.subsec_nanos());
    let mut with_faults = 0;
    for round in 0..20 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let delay = Duration::from_millis(u64::from(seed >> 16) % 1500);
        let file = folder.path().join(format!("{round}.cow"));
        let done = folder.path().join(format!("{round}.done"));
        let script = r#"echo begun; "$0" 300 4000 >/dev/null && echo ended >"$1""#;
        let started = Run::new("sh")
            .arg("-c")
            .arg(script)
            .arg(programs::built("bench_cow"))
            .arg(&done)
            .flag("record")
            .flag("-o")
            .flag(&file)
            .start();
        started.expect_output("begun");
        thread::sleep(delay);
        kill(started.pid(), Signal::SIGKILL).expect("cowtrace is running");
        let until = Instant::now() + Duration::from_secs(30);
        while fs::read_to_string(&done).unwrap_or_default() != "ended\n" {
            assert!(
                Instant::now() < until,
                "round {round}: the program did not end as it should, killed after {delay:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
        let content = fs::read(&file).expect("a recording");
        let (whole, end) = blocks(&content);
        if whole == 0 {
            refused(&mut on("report", &file), "nothing of it is left to read");
            continue;
        }
        let info = info(&file);
        assert_eq!(info["blocks"], whole, "round {round}: {info}");
        assert_eq!(info["whole"], false, "round {round}: {info}");
        assert!(content.len() - end < 64 << 20);
        with_faults += i32::from(info["faults"] != 0);
        let report = told(&mut on("report", &file));
        assert_eq!(report.code, 0, "round {round}: {}", report.stderr);
        assert!(report.stderr.contains("The recording"), "what is missing is said: {}", report.stderr);
    }
    println!("{with_faults} of 20 recordings had faults by the time of their end");
    assert!(with_faults > 5, "{with_faults}: nothing is written in time");
}

/// A disk that fills ends the recording, not the program; what was written is read.
#[test]
fn full_disk() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let mount =
        |words: &[&str]| Command::new(words[0]).args(&words[1..]).arg(&disk).status().expect("mount runs");
    assert!(mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"]).success());
    let file = disk.join("run.cow");
    let program = programs::built("bench_cow");
    let finished = Run::new(program).arg("20").arg("4000").flag("record").flag("-o").flag(&file).cowtrace();
    let checked = std::panic::catch_unwind(|| {
        assert_eq!(finished.code(), 125, "{}", finished.stderr_text());
        let printed: f64 = finished.stdout_text().trim().parse().expect("the program's own output");
        assert!(printed > 0.0);
        let stderr = finished.stderr_text();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains("No space left on device") && stderr.contains("is kept"), "{stderr}");
        let info = info(&file);
        assert!(info["whole"] == false && info["blocks"].as_u64() > Some(0), "{info}");
        let (whole, end) = blocks(&fs::read(&file).expect("a recording"));
        assert_eq!(info["blocks"], whole);
        assert_eq!(fs::metadata(&file).expect("a file").len(), end as u64, "no part of a block is left");
    });
    assert!(mount(&["umount"]).success());
    if let Err(panic) = checked {
        std::panic::resume_unwind(panic);
    }
}

/// What is no recording, or not to be written to, is refused in a sentence; nothing is overwritten.
#[test]
fn refusals() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let file = script_4(folder.path());
    let content = fs::read(&file).expect("a recording");
    let other = folder.path().join("other.cow");
    for (bytes, with) in [
        (Vec::new(), "it is empty"),
        (b"{\"type\":\"header\",\"schema\":1}\n".to_vec(), "no recording of cowtrace's"),
        (content[..10].to_vec(), "no recording of cowtrace's"),
        (content[..30].to_vec(), "nothing of it is left"),
        ([&content[..8], &[2, 0, 0, 0], &content[12..]].concat(), "version 2"),
    ] {
        fs::write(&other, bytes).expect("a file");
        refused(&mut on("report", &other), with);
        refused(on("export", &other).arg("-o").arg(folder.path().join("x.jsonl")), with);
        assert!(!folder.path().join("x.jsonl").exists());
    }
    refused(&mut on("report", folder.path()), "is a directory");
    refused(&mut on("report", Path::new("/nonexistent.cow")), "No such file");
    refused(&mut on("report", Path::new("/nonexistent\x1b[2J.cow")), "No such file");
    refused(on("export", &file).arg("-o").arg("/nonexistent/run.jsonl"), "No such file");

    // What exists stays, unless that is asked for.
    fs::write(&other, "precious").expect("a file");
    refused(on("export", &file).args(["-f", "jsonl", "-o"]).arg(&other), "--force");
    let ran = folder.path().join("ran");
    let traced = Run::new("touch").arg(&ran).flag("-o").flag(&other).cowtrace();
    assert!(traced.code() == 125 && traced.stderr_text().contains("--force"), "{}", traced.stderr_text());
    assert!(!ran.exists());
    assert_eq!(fs::read(&other).expect("a file"), b"precious");
    let exported = told(on("export", &file).args(["--force", "-f", "jsonl", "-o"]).arg(&other));
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    check::totals_add_up(&Trace::read(&other));
}

/// Half of a recording is read as far as it goes; a reader of the output that goes away is no failure.
#[test]
fn halves_and_pipes() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let file = script_4(folder.path());
    let content = fs::read(&file).expect("a recording");
    let half = folder.path().join("half.cow");
    fs::write(&half, &content[..content.len() / 2]).expect("a file");
    let report = told(&mut on("report", &half));
    assert!(report.code == 0 && report.stderr.contains("cut off"), "{} {}", report.code, report.stderr);
    assert!(report.stdout.contains("cut off"), "{}", report.stdout);

    let mut command = on("export", &file);
    let mut child = command
        .args(["-f", "jsonl", "-o", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cowtrace runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("cowtrace ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}
