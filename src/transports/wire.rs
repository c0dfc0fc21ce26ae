//! One connection's socket, plain or under TLS, with deadlines that hold however slowly bytes trickle.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handshake::{HEAD, length};

/// A connection, used by one thread at a time. The socket is shared with whoever may have to end it.
pub(super) struct Wire {
    socket: Socket,
    #[cfg(feature = "tls")]
    tls: Option<Box<rustls::Connection>>,
}

struct Socket {
    stream: Arc<TcpStream>,
    /// Until when each call must be over; none: as the socket is set.
    until: Option<Instant>,
}

impl Wire {
    pub(super) fn plain(stream: Arc<TcpStream>) -> Self {
        Self {
            socket: Socket { stream, until: None },
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The same connection under TLS: shakes hands by `until`.
    #[cfg(feature = "tls")]
    pub(super) fn secure(mut self, mut connection: rustls::Connection, until: Instant) -> io::Result<Self> {
        self.socket.until = Some(until);
        // An alert that says why goes out before the error comes back.
        while connection.is_handshaking() || connection.wants_write() {
            connection.complete_io(&mut self.socket)?;
        }
        self.socket.until = None;
        self.tls = Some(Box::new(connection));
        Ok(self)
    }

    /// The certificate that the other end showed.
    #[cfg(feature = "tls")]
    pub(super) fn certificate(&self) -> Option<&rustls::pki_types::CertificateDer<'static>> {
        self.tls.as_ref()?.peer_certificates()?.first()
    }

    pub(super) const fn stream(&self) -> &Arc<TcpStream> {
        &self.socket.stream
    }

    /// Reads a whole hello or answer by `until`.
    pub(super) fn read_shake(&mut self, until: Instant) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; HEAD];
        self.read_exact_by(&mut bytes, until)?;
        let head = bytes[..].try_into().expect("a head has its length");
        let Some(more) = length(head) else {
            return Err(io::Error::new(ErrorKind::InvalidData, "neither a hello nor an answer"));
        };
        bytes.resize(HEAD + more, 0);
        self.read_exact_by(&mut bytes[HEAD..], until)?;
        Ok(bytes)
    }

    fn read_exact_by(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<()> {
        let mut at = 0;
        self.socket.until = Some(until);
        while at < buffer.len() {
            match self.read_some(&mut buffer[at..])? {
                Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Some(read) => at += read,
                None => {}
            }
        }
        self.socket.until = None;
        Ok(())
    }

    /// Writes everything by `until`.
    pub(super) fn write_all_by(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        self.socket.until = Some(until);
        let mut at = 0;
        while at < bytes.len() {
            match self.write_some(&bytes[at..])? {
                0 => return Err(ErrorKind::WriteZero.into()),
                written => at += written,
            }
        }
        self.flush()?;
        self.socket.until = None;
        Ok(())
    }

    /// Reads what is there, or waits for it as the socket is set. `None`: something came, but nothing whole yet. Zero:
    /// the other end has ended.
    pub(super) fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Without a farewell: what frames say about their own ends is enough to know what is whole.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Some(0)),
                read => return read.map(Some),
            }
            if tls.read_tls(&mut self.socket)? == 0 {
                return Ok(Some(0));
            }
            if let Err(error) = tls.process_new_packets() {
                // It may have an alert to say.
                let _ = tls.write_tls(&mut self.socket);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
            return match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Some(0)),
                read => read.map(Some),
            };
        }
        self.socket.read(buffer).map(Some)
    }

    /// Writes some of the bytes. What it has taken is on its way when [`Wire::flush`] has succeeded.
    pub(super) fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
            return tls.writer().write(bytes);
        }
        self.socket.write(bytes)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
        }
        self.socket.flush()
    }
}

/// Ends a connection, whoever uses it.
pub(super) fn end(stream: &TcpStream) {
    // It may have ended already.
    let _ = stream.shutdown(Shutdown::Both);
}

/// How long until then; an error if it is over.
fn left(until: Instant) -> io::Result<Duration> {
    match until.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(left),
        _ => Err(ErrorKind::TimedOut.into()),
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(until) = self.until {
                self.stream.set_read_timeout(Some(left(until)?))?;
            }
            match (&*self.stream).read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(until) = self.until {
                self.stream.set_write_timeout(Some(left(until)?))?;
            }
            match (&*self.stream).write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an error says that time is over; systems call it by two names.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
