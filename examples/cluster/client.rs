//! A client of a node: one connection, one command at a time.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a node answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Text(String),
    Error(String),
    Number(i64),
    Bytes(Vec<u8>),
    Nothing,
    List(Vec<Answer>),
}

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    out: Vec<u8>,
}

/// A node answers within its own deadlines, or not at all.
const PATIENCE: Duration = Duration::from_secs(15);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), out: Vec::new() })
    }

    /// Says a command and hears the answer. After an error the connection is of no use any more.
    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> io::Result<Answer> {
        self.out.clear();
        write!(self.out, "*{}\r\n", words.len())?;
        for word in words {
            write!(self.out, "${}\r\n", word.len())?;
            self.out.extend_from_slice(word);
            self.out.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&self.out)?;
        self.hear()
    }

    /// Asks as browsers do, and says whether all was well.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> io::Result<bool> {
        let head = format!("POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n", body.len());
        self.stream.get_mut().write_all((head + body).as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        self.stream.read_line(&mut line)?;
        let is_good = line.starts_with("HTTP/1.1 200");
        while line != "\r\n" {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        self.stream.read_exact(&mut vec![0; length])?;
        Ok(is_good && length > 0)
    }

    fn hear(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let garbled = || io::Error::new(io::ErrorKind::InvalidData, format!("{line:?} is no answer"));
        let text = line.strip_suffix("\r\n").ok_or_else(garbled)?;
        let (kind, rest) = text.split_at_checked(1).ok_or_else(garbled)?;
        let number = || rest.parse::<i64>().map_err(|_| garbled());
        Ok(match kind {
            "+" => Answer::Text(rest.to_owned()),
            "-" => Answer::Error(rest.to_owned()),
            ":" => Answer::Number(number()?),
            "$" => match usize::try_from(number()?) {
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Answer::Bytes(bytes)
                }
                Err(_) => Answer::Nothing,
            },
            "*" => Answer::List((0..number()?).map(|_| self.hear()).collect::<io::Result<_>>()?),
            _ => return Err(garbled()),
        })
    }
}
