//! nginx and php-fpm: a master that forks workers, and forks new ones when it reads its configuration again.

use std::io::{Read, Write};
use std::process::Command;
use std::thread;

use cowtrace_tests::server::{Folder, Server, free_port, said_by};
use cowtrace_tests::{Run, http, needs, runs, software};
use nix::sys::signal::Signal;

use crate::{judge, objects, root, workers_of};

/// Four workers serve; a reload replaces them by four others. What they copy is nginx's and its libraries'.
#[test]
fn nginx() {
    if !needs::tracing() {
        return;
    }
    let Some(nginx) = software::debian("/usr/sbin/nginx", "nginx-light") else { return };
    let (folder, port) = (Folder::of("nobody"), free_port());
    let at = folder.path().display().to_string();
    folder.write("index.html", &"<p>text</p>\n".repeat(500));
    let configuration = folder.write(
        "nginx.conf",
        &format!(
            "daemon off;\nworker_processes 4;\npid {at}/pid;\nerror_log {at}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n  access_log {at}/access.log;\n  gzip on;\n\
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;\n\
             uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
             server {{ listen 127.0.0.1:{port}; root {at}; }}\n}}\n"
        ),
    );
    let run = Run::new(&nginx).flag("--user").flag("nobody").arg("-e").arg(folder.path().join("error.log"));
    let server = Server::start(run.arg("-c").arg(&configuration).timeout(120));
    server.expect_port(port);
    server.expect_children(4);
    let first = server.children();
    assert_eq!(http::load(port, "/index.html", 8, 50).len(), 400);
    server.signal(Signal::SIGHUP);
    server.expect("has replaced its workers", || {
        let now = server.children();
        now.len() == 4 && now.iter().all(|pid| !first.contains(pid))
    });
    assert_eq!(http::load(port, "/index.html", 8, 50).len(), 400);
    let ended = server.end(Signal::SIGQUIT);
    let version = Command::new(&nginx).arg("-v").output().expect("nginx runs");
    let version = String::from_utf8_lossy(&version.stderr).into_owned();
    let about = format!("{}: 4 workers, 400 requests, a reload, 400 requests.", version.trim_end());
    runs::keep("nginx", &about, &ended, &[(folder.path(), "/srv/www")]);
    judge(&ended, 0);
    let workers = workers_of(&ended.trace, root(&ended.trace).pid);
    assert_eq!(workers.len(), 8, "{:#?}", ended.trace.processes);
    assert!(workers.iter().all(|worker| worker.copied_bytes > 0), "{workers:#?}");
    let objects = objects(&ended.trace);
    assert!(objects.contains("nginx"), "{objects:?}");
    assert!(objects.iter().all(|name| name == "nginx" || name.contains(".so")), "{objects:?}");
    let cycle = ended.trace.faults.iter().any(|fault| {
        fault.native.iter().any(|frame| frame.symbol.as_deref().is_some_and(|name| name.starts_with("ngx_")))
    });
    assert!(cycle, "no function of nginx's: {}", ended.report);
}

/// A record of FastCGI.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    let mut record = vec![1, kind, 0, 1, length[0], length[1], 0, 0];
    record.extend_from_slice(content);
    record
}

/// Asks php-fpm for a script as a web server does: what it printed, headers included.
fn fastcgi(port: u16, script: &str) -> String {
    let mut parameters = Vec::new();
    for (name, value) in [("SCRIPT_FILENAME", script), ("REQUEST_METHOD", "GET"), ("QUERY_STRING", "")] {
        parameters.extend([name.len(), value.len()].map(|length| u8::try_from(length).expect("short")));
        parameters.extend_from_slice(name.as_bytes());
        parameters.extend_from_slice(value.as_bytes());
    }
    let begin = record(1, &[0, 1, 0, 0, 0, 0, 0, 0]);
    let request = [begin, record(4, &parameters), record(4, &[]), record(5, &[])].concat();
    let mut stream = http::connect(port);
    stream.write_all(&request).expect("the request is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer comes whole");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Workers of php-fpm share what the master has loaded before; what they copy of it is PHP's own. (Debian's package exports the
/// language's functions and none of the process manager's, `fpm_…`: few pages, once in each worker.)
#[test]
fn php_fpm() {
    if !needs::tracing() {
        return;
    }
    let Some(php) = software::debian("/usr/sbin/php-fpm8.2", "php8.2-fpm") else { return };
    let (folder, port) = (Folder::of("nobody"), free_port());
    let at = folder.path().display().to_string();
    folder.write(
        "library.php",
        "<?php\nfunction words($n) {\n  $all = [];\n\
         for ($i = 0; $i < $n; $i++) { $all[] = str_repeat('w', $i % 40); }\n  return $all;\n}\n",
    );
    // Runs once in the master, and leaves its heap to the workers.
    let preload = folder.write("preload.php", "<?php\nrequire __DIR__ . '/library.php';\nwords(20000);\n");
    let script = folder.write("page.php", "<?php\necho 'words: ', count(array_unique(words(20000)));\n");
    let configuration = folder.write(
        "fpm.conf",
        &format!(
            "[global]\nerror_log = {at}/error.log\ndaemonize = no\n\
             [www]\nlisten = 127.0.0.1:{port}\npm = static\npm.max_children = 4\n"
        ),
    );
    let run = Run::new(&php).flag("--user").flag("nobody").args(["--nodaemonize", "-d"]);
    let run =
        run.arg(format!("opcache.preload={}", preload.display())).arg("--fpm-config").arg(&configuration);
    let server = Server::start(run.timeout(120));
    server.expect_port(port);
    server.expect_children(4);
    let script = script.display().to_string();
    let clients = |_| {
        let script = script.clone();
        thread::spawn(move || (0..25).map(|_| fastcgi(port, &script)).collect::<Vec<_>>())
    };
    let clients: Vec<_> = (0..4).map(clients).collect();
    for client in clients {
        for answer in client.join().expect("every request is answered") {
            assert!(answer.contains("words: 40"), "{answer:?}");
        }
    }
    let ended = server.end(Signal::SIGQUIT);
    let version = said_by(Command::new(&php).arg("--version"));
    let version = version.lines().next().unwrap_or_default().to_owned();
    let about = format!("{version}: 4 workers, opcache.preload, 100 requests.");
    runs::keep("php-fpm", &about, &ended, &[(folder.path(), "/srv/www")]);
    judge(&ended, 0);
    let workers = workers_of(&ended.trace, root(&ended.trace).pid);
    assert_eq!(workers.len(), 4, "{:#?}", ended.trace.processes);
    assert!(workers.iter().all(|worker| worker.copied_bytes > 0), "{workers:#?}");
    let objects = objects(&ended.trace);
    assert!(objects.contains("php-fpm8.2"), "{objects:?}");
}
