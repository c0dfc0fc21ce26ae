//! Peers under TLS: who shows the wrong certificate, or none, gets nowhere.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use quorate::testing::transport_suite;
use quorate::transports::{NetworkConfig, NetworkError, NetworkEvent, PeerRefusal, TcpTransport, Tls, TlsError};
use quorate::{ClusterId, NodeId};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::peers::connected;
use super::raw::{Dialled, HELLO, Hello, Stranger, code, frames};
use super::{End, FRAME, IDENTITY, config, probe, until};

macro_rules! pem {
    ($name:literal) => {
        include_bytes!(concat!("certificates/", $name)).as_slice()
    };
}

const AUTHORITY: &[u8] = pem!("authority.pem");
const ONE: (&[u8], &[u8]) = (pem!("node-1.pem"), pem!("node-1.key"));
const TWO: (&[u8], &[u8]) = (pem!("node-2.pem"), pem!("node-2.key"));
const THREE: (&[u8], &[u8]) = (pem!("node-3.pem"), pem!("node-3.key"));
const EXPIRED: (&[u8], &[u8]) = (pem!("expired-2.pem"), pem!("expired-2.key"));
const FOREIGN: (&[u8], &[u8]) = (pem!("foreign-2.pem"), pem!("foreign-2.key"));

pub(super) fn tls(node: u64) -> Tls {
    let (certificate, key) = [ONE, TWO, THREE][node as usize - 1];
    Tls::from_pem(AUTHORITY, certificate, key).unwrap()
}

fn secure(tls: Tls) -> NetworkConfig {
    NetworkConfig { tls: Some(tls), ..config() }
}

fn of((certificate, key): (&[u8], &[u8])) -> NetworkConfig {
    secure(Tls::from_pem(AUTHORITY, certificate, key).unwrap())
}

/// Neither reaches the other: `why` is what the first says of the second.
fn assert_strangers(one: &End, two: &End, at_one: PeerRefusal) {
    one.knows(2, two.address());
    two.knows(1, one.address());
    until("both have tried", || {
        one.send(2, &[probe(1)]);
        two.send(1, &[probe(1)]);
        one.peer(2).failed_dials > 2 && two.peer(1).failed_dials > 2
    });
    assert!(one.refused(at_one) > 0, "{:?}", one.transport.status());
    for (end, peer) in [(one, 2), (two, 1)] {
        assert!(end.inbox.try_recv().is_err());
        assert_eq!((end.peer(peer).connects, end.peer(peer).messages_in), (0, 0));
    }
}

#[test]
fn it_is_a_transport() {
    // The suite has names of its own for nodes, which certificates must bear.
    let secure = |node: NodeId| {
        let at =
            [NodeId(1), NodeId(301), NodeId(601), NodeId(901), NodeId(1201)].iter().position(|known| *known == node);
        let (certificate, key) = SUITE[at.expect("a node of the suite")];
        secure(Tls::from_pem(AUTHORITY, certificate, key).unwrap())
    };
    transport_suite(Duration::from_secs(5), 1 << 19, |nodes| connected(nodes, secure, FRAME));
}

const SUITE: [(&[u8], &[u8]); 5] = [
    ONE,
    (pem!("node-301.pem"), pem!("node-301.key")),
    (pem!("node-601.pem"), pem!("node-601.key")),
    (pem!("node-901.pem"), pem!("node-901.key")),
    (pem!("node-1201.pem"), pem!("node-1201.key")),
];

#[test]
fn with_the_right_certificates_peers_reach_one_another_in_order() {
    let (one, two) = (End::open(1, of(ONE)), End::open(2, of(TWO)));
    one.knows(2, two.address());
    two.knows(1, one.address());
    for number in 0..100 {
        one.send(2, &[probe(number), probe(number + 100)]);
    }
    let expected: Vec<_> = (0..100).flat_map(|number| [probe(number), probe(number + 100)]).collect();
    assert_eq!(two.receive(1, 200), expected);
    two.reaches(2, &one, 1);
    assert_eq!(two.peer(1).connects, 1);
}

#[test]
fn plain_and_secure_ends_turn_each_other_away() {
    assert_strangers(&End::open(1, of(ONE)), &End::open(2, config()), PeerRefusal::Malformed);
}

#[test]
fn a_certificate_of_another_authority_is_worth_nothing() {
    let (certificate, key) = FOREIGN;
    // It believes ours, and ours don't believe its.
    let foreign = Tls::from_pem(&[AUTHORITY, pem!("foreign.pem")].concat(), certificate, key).unwrap();
    let (one, two) = (End::open(1, of(ONE)), End::open(2, secure(foreign)));
    assert_strangers(&one, &two, PeerRefusal::Certificate);
    until("it hears why", || {
        two.saw(|event| matches!(event, NetworkEvent::RefusedBy { refusal: PeerRefusal::Certificate, .. }))
    });
}

#[test]
fn an_expired_certificate_is_worth_nothing_until_another_takes_its_place() {
    let (one, two) = (End::open(1, of(ONE)), End::open(2, of(EXPIRED)));
    assert_strangers(&one, &two, PeerRefusal::Certificate);
    two.transport.set_tls(tls(2)).unwrap();
    two.reaches(2, &one, 1);
    one.reaches(1, &two, 2);
}

#[test]
fn certificates_are_replaced_while_connections_stand() {
    let (one, two) = (End::open(1, of(ONE)), End::open(2, of(TWO)));
    one.knows(2, two.address());
    one.reaches(1, &two, 2);
    let not_its_own = two.transport.set_tls(tls(3));
    assert_eq!(not_its_own, Err(TlsError::NotOwn(Tls::name_of(ClusterId(0xc1), NodeId(2)))));
    let (certificate, key) = EXPIRED;
    one.transport.set_tls(Tls::from_pem(AUTHORITY, ONE.0, ONE.1).unwrap()).unwrap();
    two.transport.set_tls(Tls::from_pem(AUTHORITY, certificate, key).unwrap()).unwrap();
    let before = one.peer(2).connects;
    one.reaches(1, &two, 2);
    assert_eq!(one.peer(2).connects, before, "what stands, stands");
    let other = End::open(3, secure(tls(3)));
    other.knows(2, two.address());
    until("what is made anew is made with the new one", || {
        other.send(2, &[probe(1)]);
        other.refused(PeerRefusal::Certificate) > 0
    });
}

#[test]
fn a_node_at_the_address_of_another_shows_the_wrong_certificate() {
    let (one, three) = (End::open(1, of(ONE)), End::open(3, of(THREE)));
    one.knows(2, three.address());
    one.send(2, &[probe(1)]);
    until("it is found out", || one.refused(PeerRefusal::Certificate) == 1);
    assert!(one.has_refused(Some(2), PeerRefusal::Certificate));
    assert_eq!(one.peer(2).connects, 0);
    assert!(three.inbox.try_recv().is_err());
}

/// A connection under TLS by hand, with this certificate.
fn dial(end: &End, (certificate, key): (&[u8], &[u8])) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(certificate).unwrap()],
            PrivateKeyDer::from_pem_slice(key).unwrap(),
        )
        .unwrap();
    let name = ServerName::try_from(Tls::name_of(IDENTITY.cluster, NodeId(1))).unwrap();
    let stream = Stranger::connect(end).0;
    StreamOwned::new(ClientConnection::new(Arc::new(client), name).unwrap(), stream)
}

#[test]
fn nobody_says_that_he_is_another_than_his_certificate_names() {
    let end = End::open(1, of(ONE));
    let says = |hello: Hello| {
        let mut stream = dial(&end, THREE);
        stream.write_all(&[hello.bytes(), frames(hello.from, &[probe(5)])].concat()).unwrap();
        let mut answer = [0; 53];
        stream.read_exact(&mut answer).unwrap();
        (stream, answer[6])
    };
    let (_, answer) = says(HELLO);
    assert_eq!(answer, code(PeerRefusal::Certificate));
    assert!(end.has_refused(Some(2), PeerRefusal::Certificate));
    assert!(end.inbox.try_recv().is_err());
    let (_open, answer) = says(Hello { from: 3, ..HELLO });
    assert_eq!(answer, 0);
    assert_eq!(end.receive(3, 1), [probe(5)]);
}

#[test]
fn strangers_do_not_wait_for_long_in_the_middle_of_a_handshake() {
    let end = End::open(1, of(ONE));
    // The first bytes of a record that never comes whole.
    let mut slow = Stranger::connect(&end);
    slow.says(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]);
    assert!(slow.is_over());
    until("that is why", || end.refused(PeerRefusal::Slow) == 1);
    let mut garbage = Stranger::connect(&end);
    garbage.says(b"GET / HTTP/1.1\r\n\r\n");
    assert!(garbage.is_over());
    until("that is why", || end.refused(PeerRefusal::Malformed) == 1);
    let mute = Dialled::listen();
    end.knows(2, mute.address());
    end.send(2, &[probe(0)]);
    let (mut stream, _) = mute.0.accept().unwrap();
    let mut hello = Vec::new();
    match stream.read_to_end(&mut hello) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    until("it is not waited for", || end.peer(2).failed_dials == 1);
    assert_eq!(hello.first(), Some(&0x16), "a handshake of TLS, and nothing in the clear");
}

#[test]
fn what_is_no_certificate_is_refused_before_anything_listens() {
    let (certificate, key) = ONE;
    let pem = |authority, certificate, key| Tls::from_pem(authority, certificate, key).map(|_| ());
    assert!(matches!(pem(b"", certificate, key), Err(TlsError::Pem { what: "authority's certificate", .. })));
    assert!(matches!(pem(AUTHORITY, key, key), Err(TlsError::Pem { what: "node's certificate", .. })));
    assert!(matches!(pem(AUTHORITY, certificate, certificate), Err(TlsError::Pem { what: "key", .. })));
    assert!(matches!(pem(AUTHORITY, certificate, TWO.1), Err(TlsError::Unusable(_))), "another's key");
    let bound = TcpTransport::bind(IDENTITY, NodeId(2), FRAME, of(ONE), |_| {});
    assert!(matches!(bound, Err(NetworkError::Tls(TlsError::NotOwn(_)))), "{bound:?}");
}
