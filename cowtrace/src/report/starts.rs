//! How multiprocessing started processes other than by a plain fork, as their command lines tell: then they inherit
//! something else than one would think, or nothing.

use super::numbers::{count, counted, plural, size_range};
use super::scope::Scope;
use super::words;

/// A fork server's command line has this.
/// <https://github.com/python/cpython/blob/v3.14.0/Lib/multiprocessing/forkserver.py#L155>
const FORKSERVER: &str = "from multiprocessing.forkserver import main";
/// A spawned process's has this.
/// <https://github.com/python/cpython/blob/v3.14.0/Lib/multiprocessing/spawn.py#L79>
const SPAWN: &str = "from multiprocessing.spawn import spawn_main";
/// What a spawned process's has in a frozen program.
const FROZEN: &str = "--multiprocessing-fork";

/// Sentences without full stop, each with its label.
pub(super) fn sentences(scope: &Scope<'_>) -> Vec<(&'static str, String)> {
    let mut sentences = Vec::new();
    for server in (0..scope.trace.processes.len()).filter(|p| began(scope, *p, &[FORKSERVER])) {
        sentences.extend(forkserver(scope, server).map(|text| ("forkserver", text)));
    }
    let spawned: Vec<usize> =
        (0..scope.trace.processes.len()).filter(|p| began(scope, *p, &[SPAWN, FROZEN])).collect();
    if let Some(first) = spawned.first() {
        let process = words::process(&scope.trace.processes[*first]);
        let number = spawned.len() as u64;
        let who = match number {
            1 => format!("{process} was"),
            _ => format!("{} ({process}, …) were", counted(number, "process")),
        };
        sentences.push(("spawn", format!("{who} started anew: nothing is inherited under spawn")));
    }
    sentences
}

/// Whether a process itself began what it runs with a command line like one of these: it was not forked with it.
fn began(scope: &Scope<'_>, process: usize, with: &[&str]) -> bool {
    let process = &scope.trace.processes[process];
    !process.execs.is_empty()
        && process.command.iter().any(|word| with.iter().any(|text| word.contains(text)))
}

/// What a fork server's workers share; `None` = it forked none.
fn forkserver(scope: &Scope<'_>, server: usize) -> Option<String> {
    let processes = &scope.trace.processes;
    let is_worker = |p: &&usize| processes[**p].parent == Some(server) && scope.is_child(**p);
    let all: Vec<usize> = (0..processes.len()).collect();
    let workers: Vec<&usize> = all.iter().filter(is_worker).collect();
    let number = workers.len() as u64;
    let inherited = size_range(workers.iter().map(|p| processes[**p].inherited_bytes));
    (number > 0).then(|| {
        let (are, each) = if number == 1 { ("was", "") } else { ("were", " each") };
        format!(
            "{} {} {are} forked by the forkserver {}, which was started anew: they inherited {inherited}{each} of its \
             memory, none of {}'s",
            count(number),
            plural(number, "worker"),
            processes[server].pid,
            processes[server].ppid
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::Builder;

    /// Workers of a fork server share its memory, spawned ones nobody's; plain forks are not spoken of.
    #[test]
    fn who_shares_what() {
        let mut b = Builder::new(&["python", "a.py"]);
        let parent = b.process(None, "python3", 0);
        let server = b.process(Some(parent), "python3", 4096);
        b.exec(server, "python3");
        for _ in 0..2 {
            b.process(Some(server), "python3", 7 << 20);
        }
        let spawned = b.process(Some(parent), "python3", 4096);
        b.exec(spawned, "python3");
        let mut trace = b.finish();
        assert!(sentences(&Scope::new(&trace, None)).is_empty());
        let command = |text: &str| vec!["python3".to_owned(), "-c".to_owned(), text.to_owned()];
        for process in [1, 2, 3] {
            trace.processes[process].command = command(&format!("{FORKSERVER}; main(3)"));
        }
        trace.processes[4].command = command(&format!("{SPAWN}; spawn_main(4)"));
        let told = sentences(&Scope::new(&trace, None));
        assert_eq!(told.len(), 2);
        assert_eq!(
            told[0].1,
            "2 workers were forked by the forkserver 7001, which was started anew: they inherited 7.0 MiB each of its \
             memory, none of 7000's"
        );
        assert_eq!(told[1].1, "7004 python3 was started anew: nothing is inherited under spawn");
    }
}
