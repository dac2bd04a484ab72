//! A client with which the tests bring servers to work: so many requests and no more, each answered or the test fails.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to loopback, with limits of time.
#[must_use]
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .unwrap_or_else(|error| panic!("port {port} cannot be connected to: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit above 0");
    stream.set_write_timeout(Some(PATIENCE)).expect("a limit above 0");
    stream
}

/// Asks for a path; the body of the answer, which must be 200.
#[must_use]
pub fn get(port: u16, path: &str) -> String {
    let mut stream = connect(port);
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("the request is sent");
    let mut answer = Vec::new();
    // A server that closes before it has read all resets the connection behind its answer.
    let read = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1);
    assert_eq!(status, Some("200"), "GET {path} on port {port}: {answer:?} {read:?}");
    answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned())
}

/// Asks so often for a path, from so many threads at once; every answer's body.
#[must_use]
pub fn load(port: u16, path: &str, threads: usize, each: usize) -> Vec<String> {
    thread::scope(|scope| {
        let client = || scope.spawn(|| (0..each).map(|_| get(port, path)).collect::<Vec<_>>());
        let clients: Vec<_> = (0..threads).map(|_| client()).collect();
        clients.into_iter().flat_map(|client| client.join().expect("every request is answered")).collect()
    })
}
