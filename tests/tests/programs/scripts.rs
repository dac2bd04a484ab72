//! Preforking servers of Perl and Ruby: Starman, puma and unicorn, each with an application that was loaded before the fork.

use std::path::PathBuf;
use std::process::Command;

use cowtrace_tests::server::{Ended, Folder, Server, free_port, said_by};
use cowtrace_tests::{Run, http, needs, programs, runs, software};
use nix::sys::signal::Signal;

use crate::{judge, objects, root, workers_of};

const WORKERS: usize = 4;

/// Starts a server of such workers, loads it and ends it.
fn served(run: Run, port: u16, signal: Signal) -> Ended {
    let server = Server::start(run.timeout(150));
    server.expect_port(port);
    server.expect_children(WORKERS);
    for body in http::load(port, "/", 4, 50) {
        assert_eq!(body, "words: 40");
    }
    server.end(signal)
}

/// The workers are there, and each has copied something of what was loaded before.
fn judge_workers(ended: &Ended) {
    let workers = workers_of(&ended.trace, root(&ended.trace).pid);
    assert_eq!(workers.len(), WORKERS, "{:#?}", ended.trace.processes);
    assert!(workers.iter().all(|worker| worker.copied_bytes > 0), "{workers:#?}");
}

/// Perl: every value that a worker reads may be counted, and converted in place, on a shared page.
#[test]
fn starman() {
    if !needs::tracing() {
        return;
    }
    let Some(starman) = software::debian("/usr/bin/starman", "starman") else { return };
    let (folder, port) = (Folder::new(), free_port());
    let run = Run::new("/usr/bin/perl")
        .arg(&starman)
        .arg("--listen")
        .arg(format!("127.0.0.1:{port}"))
        .args(["--workers", "4", "--preload-app"])
        .arg("--error-log")
        .arg(folder.path().join("error.log"))
        .arg(programs::workload("servers/app.psgi"));
    let ended = served(run, port, Signal::SIGQUIT);
    let version = said_by(Command::new("perl").args([
        "-MStarman",
        "-e",
        "print \"Starman $Starman::VERSION, Perl $^V\"",
    ]));
    runs::keep("starman", &format!("{version}: 4 workers, --preload-app, 200 requests."), &ended, &[]);
    judge(&ended, 0);
    judge_workers(&ended);
    let perl = objects(&ended.trace);
    assert!(perl.contains("perl"), "{perl:?}");
}

fn ruby(program: &str, package: &str) -> Option<PathBuf> {
    software::debian("/usr/bin/ruby", "ruby")?;
    software::debian(program, package)
}

/// The line of the application, or the function of Ruby's own library, of what was copied.
fn judge_ruby(ended: &Ended) {
    judge_workers(ended);
    let ruby = objects(&ended.trace);
    assert!(ruby.iter().any(|name| name.starts_with("libruby")), "{ruby:?}");
    let application = programs::workload("servers/config.ru");
    let line = programs::line_ending(&application, "  # the reading");
    let there = ended
        .trace
        .faults
        .iter()
        .filter(|fault| fault.bytes > 0 && fault.line_in(&application) == Some(line));
    assert!(there.count() > 0, "nothing at line {line}:\n{}", ended.report);
}

/// puma in cluster mode with a preloaded application.
#[test]
fn puma() {
    if !needs::tracing() {
        return;
    }
    let Some(puma) = ruby("/usr/bin/puma", "puma") else { return };
    let port = free_port();
    let run = Run::new("/usr/bin/ruby")
        .arg(&puma)
        .args(["--workers", "4", "--threads", "1:2", "--preload", "--environment", "production"])
        .arg("--bind")
        .arg(format!("tcp://127.0.0.1:{port}"))
        .arg(programs::workload("servers/config.ru"));
    let ended = served(run, port, Signal::SIGTERM);
    let version = said_by(Command::new(&puma).arg("--version"));
    let ruby = said_by(Command::new("/usr/bin/ruby").args(["-e", "print RUBY_VERSION"]));
    let about = format!("{}, Ruby {ruby}: 4 workers, --preload, 200 requests.", version.trim_end());
    runs::keep("puma", &about, &ended, &[]);
    judge(&ended, 128 + Signal::SIGTERM as i32);
    judge_ruby(&ended);
}

/// unicorn with a preloaded application.
#[test]
fn unicorn() {
    if !needs::tracing() {
        return;
    }
    let Some(unicorn) = ruby("/usr/bin/unicorn", "unicorn") else { return };
    let (folder, port) = (Folder::new(), free_port());
    let configuration = folder.write(
        "unicorn.rb",
        &format!(
            "worker_processes {WORKERS}\npreload_app true\nlisten '127.0.0.1:{port}'\nstderr_path '{}/log'\n",
            folder.path().display()
        ),
    );
    let run = Run::new("/usr/bin/ruby")
        .arg(&unicorn)
        .args(["-E", "none", "-c"])
        .arg(configuration)
        .arg(programs::workload("servers/config.ru"));
    let ended = served(run, port, Signal::SIGQUIT);
    let version = said_by(Command::new(&unicorn).arg("--version"));
    let ruby = said_by(Command::new("/usr/bin/ruby").args(["-e", "print RUBY_VERSION"]));
    let about = format!("{}, Ruby {ruby}: 4 workers, preload_app, 200 requests.", version.trim_end());
    runs::keep("unicorn", &about, &ended, &[(folder.path(), "/srv/app")]);
    judge(&ended, 0);
    judge_ruby(&ended);
}
