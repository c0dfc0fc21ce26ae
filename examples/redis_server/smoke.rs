//! The smallest client: does the server do what it is for?

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Sends these bytes, and expects these back.
pub(crate) fn expect(server: &mut TcpStream, sent: &str, expected: &str) -> io::Result<()> {
    server.write_all(sent.as_bytes())?;
    let mut got = vec![0; expected.len()];
    server.read_exact(&mut got)?;
    if got == expected.as_bytes() {
        return Ok(());
    }
    let got = String::from_utf8_lossy(&got).into_owned();
    Err(io::Error::other(format!("{sent:?} was answered by {got:?} and not {expected:?}")))
}

pub(crate) fn run(address: SocketAddr) -> io::Result<()> {
    let server = &mut TcpStream::connect(address)?;
    expect(server, "PING\r\n", "+PONG\r\n")?;
    expect(server, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n", "+OK\r\n")?;
    expect(server, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "$5\r\nvalue\r\n")?;
    // Three commands at once are answered in order, and each sees what those before it did.
    expect(server, "SET k 1\r\nINCR k\r\nGET k\r\n", "+OK\r\n:2\r\n$1\r\n2\r\n")?;
    expect(server, "DEL k none\r\nEXISTS k\r\n", ":1\r\n:0\r\n")
}
