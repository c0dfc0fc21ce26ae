use std::net::SocketAddr;

use super::*;
use crate::smoke::expect;

fn server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new(start().unwrap());
    std::thread::spawn(move || serve(&listener, &shared));
    address
}

fn ask(server: SocketAddr, dialogue: &[(&str, &str)]) {
    let mut client = TcpStream::connect(server).unwrap();
    for (sent, expected) in dialogue {
        expect(&mut client, &format!("{sent}\r\n"), &format!("{expected}\r\n")).unwrap();
    }
}

#[test]
fn the_smoke_test_passes() {
    smoke::run(server()).unwrap();
}

#[test]
fn strings_are_set_and_read_one_by_one_and_together() {
    ask(
        server(),
        &[
            ("MSET a 1 b 2 a 3", "+OK"),
            ("MGET a b none", "*3\r\n$1\r\n3\r\n$1\r\n2\r\n$-1"),
            ("SET a longer", "+OK"),
            ("STRLEN a", ":6"),
            ("EXISTS a b none a", ":3"),
            ("DBSIZE", ":2"),
            ("UNLINK a", ":1"),
            ("GET a", "$-1"),
        ],
    );
}

#[test]
fn what_is_not_offered_is_refused_and_leaves_the_connection_usable() {
    ask(
        server(),
        &[
            ("SET k v NX", "-ERR SET with NX, XX or GET would promise what this server can't keep"),
            ("SET k v EX 0", "-ERR invalid expire time in 'set' command"),
            ("SET k v EX", "-ERR syntax error"),
            ("SET k", "-ERR wrong number of arguments for 'set' command"),
            ("FLUSHALL", "-ERR unknown command 'FLUSHALL'"),
            ("SELECT 1", "-ERR DB index is out of range"),
            ("SELECT 0", "+OK"),
            ("ECHO here", "$4\r\nhere"),
            ("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n"),
        ],
    );
}

#[test]
fn what_expires_is_told_and_can_be_kept() {
    let server = server();
    let mut client = TcpStream::connect(server).unwrap();
    ask(server, &[("SET k v EX 1000", "+OK")]);
    assert!((900..=1_000).contains(&told(&mut client, "TTL k\r\n")));
    ask(server, &[("PERSIST k", ":1"), ("TTL k", ":-1"), ("PERSIST k", ":0"), ("EXPIRE k 500", ":1")]);
    assert!((400_000..=500_000).contains(&told(&mut client, "PTTL k\r\n")));
    ask(server, &[("EXPIRE none 50", ":0"), ("TTL none", ":-2"), ("EXPIRE k -1", ":1"), ("GET k", "$-1")]);
    // A counter lasts as long as the number that it began with.
    ask(server, &[("SET n 1 EX 1000", "+OK"), ("INCR n", ":2")]);
    assert!((900..=1_000).contains(&told(&mut client, "TTL n\r\n")));
}

#[test]
fn a_value_that_has_expired_is_gone() {
    let server = server();
    ask(server, &[("SET k v PX 1", "+OK")]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut client = TcpStream::connect(server).unwrap();
    while expect(&mut client, "EXISTS k\r\n", ":0\r\n").is_err() {
        assert!(std::time::Instant::now() < until);
    }
    ask(server, &[("GET k", "$-1"), ("TTL k", ":-2")]);
}

#[test]
fn numbers_are_counted_on_from_strings_and_begin_anew_after_a_delete() {
    ask(
        server(),
        &[
            ("INCR n", ":1"),
            ("INCRBY n 41", ":42"),
            ("DECRBY n 2", ":40"),
            ("GET n", "$2\r\n40"),
            ("SET n 7", "+OK"),
            ("DECR n", ":6"),
            ("DEL n", ":1"),
            ("INCR n", ":1"),
            ("SET t text", "+OK"),
            ("INCR t", "-ERR value is not an integer or out of range"),
            ("SET t 9223372036854775807", "+OK"),
            ("INCR t", "-ERR increment or decrement would overflow"),
            ("INCRBY t x", "-ERR value is not an integer or out of range"),
        ],
    );
}

#[test]
fn no_increment_of_clients_side_by_side_is_lost_and_no_two_are_told_the_same() {
    let server = server();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = TcpStream::connect(server).unwrap();
                (0..50).map(|_| told(&mut client, "INCR n\r\n")).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut told: Vec<i64> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, (1..=200).collect::<Vec<_>>());
}

/// The number that a command is answered by.
fn told(client: &mut TcpStream, command: &str) -> i64 {
    use std::io::{BufRead, BufReader, Write};
    client.write_all(command.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    line.trim_start_matches(':').trim().parse().unwrap()
}

#[test]
fn what_can_not_be_told_from_the_next_command_ends_the_connection() {
    use std::io::{Read, Write};
    let mut client = TcpStream::connect(server()).unwrap();
    client.write_all(b"SET k v\r\n*1\r\n$99999999\r\n").unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).unwrap();
    assert_eq!(all, "+OK\r\n-ERR Protocol error: invalid bulk length\r\n");
}
