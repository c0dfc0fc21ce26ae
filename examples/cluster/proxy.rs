//! What stands between two nodes, and may cut them off or hold up what they say. It needs no privileges, unlike a packet
//! filter; what it does to bytes TCP would do as well.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The way from one node to another.
#[derive(Clone)]
pub(crate) struct Link {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    cut: bool,
    stalled: bool,
    open: Vec<TcpStream>,
}

impl Link {
    /// A link to `target`, which need not listen yet.
    pub(crate) fn new(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let link = Self { address: listener.local_addr()?, state: Arc::default() };
        let own = link.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who can't be reached is not there.
                let _ = own.join(stream, target);
            }
        });
        Ok(link)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections, and lets none through until it is mended.
    pub(crate) fn cut(&self) {
        let mut state = self.state();
        state.cut = true;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets nothing through, and loses nothing: what is said comes late.
    pub(crate) fn stall(&self) {
        self.state().stalled = true;
    }

    pub(crate) fn mend(&self) {
        let mut state = self.state();
        (state.cut, state.stalled) = (false, false);
        self.state.1.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, near: TcpStream, target: SocketAddr) -> io::Result<()> {
        if self.state().cut {
            return Ok(());
        }
        let far = TcpStream::connect(target)?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let mut state = self.state();
        state.open.retain(|stream| stream.peer_addr().is_ok());
        state.open.extend([near.try_clone()?, far.try_clone()?]);
        drop(state);
        for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
            let own = self.clone();
            thread::spawn(move || own.carry(from, to));
        }
        Ok(())
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut chunk = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            let (mutex, mended) = &*self.state;
            let mut state = mutex.lock().unwrap_or_else(PoisonError::into_inner);
            while state.stalled && !state.cut {
                state = mended.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            if to.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
