//! The shipped transport, and a message for all sides.

use std::sync::{Arc, Mutex};

use quorate::causality::Secret;
use quorate::ring::plan_first;
use quorate::storage::MemoryStorage;
use quorate::transports::{NetworkConfig, TcpTransport, Tls};
use quorate::{
    ClusterId, Codec, Context, Identity, Keyspace, Member, Message, NodeId, Server, Setup, Start, Transport,
};

use crate::{Deliver, Pair, Send_};

const IDENTITY: Identity = Identity {
    cluster: ClusterId(0xc1),
    secret: Secret::new([1; 16]),
};
pub(crate) const NODES: [NodeId; 2] = [NodeId(1), NodeId(2)];

pub(crate) const fn codec() -> Codec {
    Codec::new(IDENTITY, 1 << 20)
}

/// How many bytes a message takes on the wire, by itself in a frame.
pub(crate) fn length(message: &Message) -> usize {
    4 + codec().encode(NODES[0], std::slice::from_ref(message))[0].len()
}

/// What a coordinator sends to an owner for a put of so many bytes.
pub(crate) fn write_of(bytes: usize) -> Message {
    struct Kept(Mutex<Vec<Message>>);
    impl Transport for Kept {
        fn send(&self, _: NodeId, messages: &mut Vec<Message>) {
            self.0.lock().expect("no panic").append(messages);
        }
    }
    let members = [1, 2, 3].map(|node| Member::new(NodeId(node)));
    let layout = Arc::new(plan_first(&members, 3, 16).expect("a layout").layout);
    let setup = Setup::new(IDENTITY, NODES[0], layout, vec![Keyspace::new("default")]);
    let kept = Arc::new(Kept(Mutex::default()));
    let transport = Arc::clone(&kept) as Arc<dyn Transport>;
    let setup = Setup {
        founding: true,
        ..setup
    };
    let server = Server::open(setup, vec![MemoryStorage::new()], transport, |_| {}).expect("a node");
    let bucket = server.client().bucket("default").expect("the keyspace");
    drop(bucket.put("a key of a cart", vec![7; bytes], &Context::empty()));
    let sent = kept.0.lock().expect("no panic").clone();
    sent.into_iter()
        .find(|message| format!("{message:?}").starts_with("Write("))
        .expect("a write was sent")
}

pub(crate) fn plain(deliver: [Deliver; 2]) -> Pair {
    pair(deliver, [(); 2].map(|()| NetworkConfig::new("127.0.0.1:0")))
}

pub(crate) fn secure(deliver: [Deliver; 2]) -> Pair {
    let authority = include_bytes!("../../../tests/network/certificates/authority.pem");
    let pem: [(&[u8], &[u8]); 2] = [
        (
            include_bytes!("../../../tests/network/certificates/node-1.pem"),
            include_bytes!("../../../tests/network/certificates/node-1.key"),
        ),
        (
            include_bytes!("../../../tests/network/certificates/node-2.pem"),
            include_bytes!("../../../tests/network/certificates/node-2.key"),
        ),
    ];
    let config = pem.map(|(certificate, key)| {
        let tls = Tls::from_pem(authority, certificate, key).expect("certificates");
        NetworkConfig {
            tls: Some(tls),
            ..NetworkConfig::new("127.0.0.1:0")
        }
    });
    pair(deliver, config)
}

fn pair(deliver: [Deliver; 2], config: [NetworkConfig; 2]) -> Pair {
    let mut nodes = NODES.into_iter();
    let ends = config.map(|config| {
        let node = nodes.next().expect("two nodes");
        Arc::new(TcpTransport::bind(IDENTITY, node, 1 << 20, config, |_| {}).expect("a port"))
    });
    ends[0].set_address(NODES[1], Some(ends[1].local_address().to_string()));
    ends[1].set_address(NODES[0], Some(ends[0].local_address().to_string()));
    for (end, deliver) in ends.iter().zip(deliver) {
        end.start(Start(1), None, move |_, messages| deliver(messages))
            .expect("a thread");
    }
    let send = [(0, 1), (1, 0)].map(|(from, to)| {
        let end: Arc<TcpTransport> = Arc::clone(&ends[from]);
        Arc::new(move |mut messages: Vec<Message>| end.send(NODES[to], &mut messages)) as Send_
    });
    Pair {
        send,
        _keep: Box::new(ends),
    }
}
