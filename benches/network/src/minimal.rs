//! Two transports that do nothing but carry messages: no handshake, no bounds, no second connection.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use quorate::{Codec, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::unbounded_channel;

use crate::ours::{NODES, codec};
use crate::{Deliver, Pair, Send_};

/// Connections from each end to the other: the one that it writes to, and the one that it reads from.
fn sockets() -> [(TcpStream, TcpStream); 2] {
    let connect = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let out = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        out.set_nodelay(true).expect("a socket");
        (out, listener.accept().expect("a connection").0)
    };
    let ((out, into), (back, from)) = (connect(), connect());
    [(out, from), (back, into)]
}

/// All frames for these messages, each after its length.
fn encode(codec: &Codec, messages: &[Message], out: &mut Vec<u8>) {
    out.clear();
    for frame in codec.encode(NODES[0], messages) {
        out.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        out.extend_from_slice(&frame);
    }
}

/// The messages of all whole frames, which are taken out of the buffer.
fn decode(codec: &Codec, buffer: &mut Vec<u8>) -> Vec<Message> {
    let (mut messages, mut at) = (Vec::new(), 0);
    while let Some((length, rest)) = buffer[at..].split_first_chunk()
        && let Some(frame) = rest.get(..u32::from_le_bytes(*length) as usize)
    {
        messages.append(&mut codec.decode(frame).expect("a frame").1);
        at += 4 + frame.len();
    }
    buffer.drain(..at);
    messages
}

pub(crate) fn threads(deliver: [Deliver; 2]) -> Pair {
    let mut deliver = deliver.into_iter();
    let send = sockets().map(|(mut out, mut into)| {
        let deliver = deliver.next().expect("two ends");
        thread::spawn(move || {
            let (codec, mut buffer, mut chunk) = (codec(), Vec::new(), vec![0; 64 << 10]);
            while let Ok(count @ 1..) = into.read(&mut chunk) {
                buffer.extend_from_slice(&chunk[..count]);
                let messages = decode(&codec, &mut buffer);
                if !messages.is_empty() {
                    deliver(messages);
                }
            }
        });
        let queue = Arc::new((Mutex::new((VecDeque::<Message>::new(), false)), Condvar::new()));
        let shared = Arc::clone(&queue);
        thread::spawn(move || {
            let (codec, mut bytes) = (codec(), Vec::new());
            loop {
                let mut state = shared.0.lock().expect("no panic");
                while state.0.is_empty() && !state.1 {
                    state = shared.1.wait(state).expect("no panic");
                }
                let messages: Vec<_> = state.0.drain(..).collect();
                if messages.is_empty() {
                    return;
                }
                drop(state);
                encode(&codec, &messages, &mut bytes);
                if out.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        (queue, ())
    });
    struct End(Vec<Arc<(Mutex<(VecDeque<Message>, bool)>, Condvar)>>);
    impl Drop for End {
        fn drop(&mut self) {
            for queue in &self.0 {
                queue.0.lock().expect("no panic").1 = true;
                queue.1.notify_one();
            }
        }
    }
    let keep = End(send.iter().map(|(queue, ())| Arc::clone(queue)).collect());
    let send = send.map(|(queue, ())| {
        Arc::new(move |messages: Vec<Message>| {
            queue.0.lock().expect("no panic").0.extend(messages);
            queue.1.notify_one();
        }) as Send_
    });
    Pair {
        send,
        _keep: Box::new(keep),
    }
}

pub(crate) fn tokio_two(deliver: [Deliver; 2]) -> Pair {
    let runtime = Arc::new(
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_io()
            .build()
            .expect("a runtime"),
    );
    tasks(deliver, [Arc::clone(&runtime), runtime])
}

pub(crate) fn tokio_one(deliver: [Deliver; 2]) -> Pair {
    let one = || {
        Arc::new(
            Builder::new_multi_thread()
                .worker_threads(1)
                .enable_io()
                .build()
                .expect("a runtime"),
        )
    };
    tasks(deliver, [one(), one()])
}

fn tasks(deliver: [Deliver; 2], runtimes: [Arc<Runtime>; 2]) -> Pair {
    let mut ends = deliver.into_iter().zip(runtimes.clone());
    let send = sockets().map(|(out, into)| {
        let (deliver, runtime) = ends.next().expect("two ends");
        let inside = runtime.enter();
        let convert = |stream: TcpStream| {
            stream.set_nonblocking(true).expect("a socket");
            tokio::net::TcpStream::from_std(stream).expect("a socket")
        };
        let (mut out, mut into) = (convert(out), convert(into));
        drop(inside);
        runtime.spawn(async move {
            let (codec, mut buffer) = (codec(), Vec::with_capacity(64 << 10));
            while let Ok(1..) = into.read_buf(&mut buffer).await {
                let messages = decode(&codec, &mut buffer);
                if !messages.is_empty() {
                    deliver(messages);
                }
            }
        });
        let (to, mut queue) = unbounded_channel::<Vec<Message>>();
        runtime.spawn(async move {
            let (codec, mut bytes, mut lists) = (codec(), Vec::new(), Vec::new());
            while queue.recv_many(&mut lists, 64).await > 0 {
                let messages: Vec<_> = lists.drain(..).flatten().collect();
                encode(&codec, &messages, &mut bytes);
                if out.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        });
        Arc::new(move |messages| {
            let _ = to.send(messages);
        }) as Send_
    });
    struct End(Vec<Arc<Runtime>>);
    impl Drop for End {
        fn drop(&mut self) {
            for runtime in self.0.drain(..) {
                if let Some(runtime) = Arc::into_inner(runtime) {
                    runtime.shutdown_background();
                }
            }
        }
    }
    Pair {
        send,
        _keep: Box::new(End(runtimes.into())),
    }
}
