//! The port for clients: a thread for each connection, and an end to all of them.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use quorate::config::Durability;
use quorate::durable::RedbStorage;
use quorate::transports::NetworkServer;

use crate::commands::answer;
use crate::log::log;
use crate::resp::{Reply, parse};

/// The most connections at a time: each has a thread. A further one is told so.
const CONNECTIONS: usize = 1_024;

pub(crate) struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

struct Shared {
    server: Weak<NetworkServer<RedbStorage>>,
    durability: Durability,
    ending: AtomicBool,
    open: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

impl Service {
    /// `durability` is that of puts which don't say one.
    pub(crate) fn start(
        listen: &str,
        server: &Arc<NetworkServer<RedbStorage>>,
        durability: Durability,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let (ending, open) = (AtomicBool::new(false), Mutex::default());
        let shared = Arc::new(Shared { server: Arc::downgrade(server), durability, ending, open });
        let own = Arc::clone(&shared);
        let listening = thread::spawn(move || own.listen(&listener));
        Ok(Self { address, shared, listening })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no further command, and waits for those in progress: each has a deadline.
    pub(crate) fn stop(self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // Whoever waits for a connection is woken by one.
        drop(TcpStream::connect(self.address));
        let _ = self.listening.join();
        let open = std::mem::take(&mut *self.shared.open.lock().unwrap_or_else(PoisonError::into_inner));
        for (stream, _) in &open {
            // The answer to what was read may still go out.
            let _ = stream.shutdown(Shutdown::Read);
        }
        for (_, thread) in open {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn listen(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.ending.load(Ordering::SeqCst) {
                return;
            }
            if let Err(error) = stream.and_then(|stream| self.take(stream)) {
                log(&format!("a client's connection was not taken: {error}"));
            }
        }
    }

    fn take(self: &Arc<Self>, mut stream: TcpStream) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, thread)| !thread.is_finished());
        if open.len() >= CONNECTIONS {
            return stream.write_all(b"-ERR too many connections\r\n");
        }
        stream.set_nodelay(true)?;
        let (own, shared) = (stream.try_clone()?, Arc::clone(self));
        let thread = thread::spawn(move || {
            // A client that breaks off is its own affair.
            let _ = shared.attend(stream);
        });
        open.push((own, thread));
        Ok(())
    }

    fn attend(&self, mut stream: TcpStream) -> io::Result<()> {
        let (mut bytes, mut out, mut chunk) = (Vec::new(), Vec::new(), vec![0; 64 << 10]);
        loop {
            let mut at = 0;
            loop {
                match parse(&bytes[at..]) {
                    Ok(Some(command)) => {
                        at += command.length;
                        let Some(server) = self.server.upgrade() else { return Ok(()) };
                        answer(&server, self.durability, &command.words).put(&mut out);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        Reply::Error(format!("ERR {error}")).put(&mut out);
                        return stream.write_all(&out);
                    }
                }
            }
            bytes.drain(..at);
            stream.write_all(&out)?;
            out.clear();
            match stream.read(&mut chunk)? {
                0 => return Ok(()),
                length => bytes.extend_from_slice(&chunk[..length]),
            }
        }
    }
}
