//! PostgreSQL forks a process for each client: what a client's process copies of what the server set up.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use cowtrace_tests::server::{Folder, Server, free_port, said_by};
use cowtrace_tests::{Run, needs, runs, software};
use nix::sys::signal::Signal;

use crate::{judge, root, workers_of};

/// Whom Debian's package runs it as; root is refused.
const USER: &str = "postgres";
const CLIENTS: usize = 20;

/// A command of PostgreSQL's as its user.
fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}

/// Twenty clients at once are served by twenty processes that were forked for them; nothing else of PostgreSQL's is copied
/// for a client than by its own process.
#[test]
fn twenty_clients() {
    if !needs::tracing() {
        return;
    }
    let Some(programs) = software::postgres() else { return };
    let (folder, port) = (Folder::of(USER), free_port().to_string());
    let data = folder.path().join("data");
    said_by(
        as_user(&programs.join("initdb")).args(["--no-sync", "-A", "trust", "-U", "test", "-D"]).arg(&data),
    );
    let run = Run::new(programs.join("postgres"))
        .flag("--user")
        .flag(USER)
        .arg("-D")
        .arg(&data)
        .arg("-p")
        .arg(&port)
        .arg("-k")
        .arg(folder.path())
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=40"])
        .timeout(150);
    let server = Server::start(run);
    let client = |program: &str| {
        let mut command = Command::new(programs.join(program));
        command.args(["-h", "127.0.0.1", "-U", "test", "-p", &port]);
        command
    };
    server.expect("takes connections", || {
        client("pg_isready").output().is_ok_and(|output| output.status.success())
    });
    said_by(client("pgbench").args(["-i", "-q", "-s", "1", "postgres"]));
    let clients = CLIENTS.to_string();
    said_by(client("pgbench").args(["-n", "-c", &clients, "-j", "2", "-t", "40", "postgres"]));
    // Clients' processes may live a moment longer than their clients; a fast shutdown waits for them.
    let ended = server.end(Signal::SIGINT);
    let version = said_by(Command::new(programs.join("postgres")).arg("--version"));
    let about = format!("{}: pgbench with {CLIENTS} clients, 40 transactions each.", version.trim_end());
    runs::keep("postgres", &about, &ended, &[(folder.path(), "/var/lib/postgresql")]);
    judge(&ended, 0);
    let server = root(&ended.trace).pid;
    let workers = workers_of(&ended.trace, server);
    // Beside those of pgbench's clients: its own first one, its set-up, pg_isready; checkpointer, writers, launchers.
    assert!(workers.len() >= CLIENTS + 5, "{} processes: {:#?}", workers.len(), ended.trace.processes);
    assert!(
        workers.iter().all(|worker| worker.generation == 1 && worker.inherited_bytes > 0),
        "{workers:#?}"
    );
    let copying: BTreeSet<u32> =
        workers.iter().filter(|worker| worker.copied_bytes > 0).map(|w| w.pid).collect();
    assert_eq!(copying.len(), workers.len(), "workers that copied nothing: {workers:#?}");
    let main =
        ended.trace.faults.iter().filter(|fault| copying.contains(&fault.pid) && fault.outcome == "copy");
    let named =
        main.filter(|fault| fault.native.iter().any(|frame| frame.symbol.as_deref() == Some("PostgresMain")));
    assert!(named.count() > CLIENTS, "too few copies are told to be PostgresMain's");
}
