//! The smallest client: does the server do what it is for?

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

use prost::Message;

use crate::messages::{
    BucketProperties, Content, DeleteRequest, GetReply, GetRequest, Nothing, PutReply, PutRequest, SetBucketRequest,
    code,
};
use crate::wire::{put_frame, read_frame};

pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) fn to(server: SocketAddr) -> io::Result<Self> {
        Ok(Self(TcpStream::connect(server)?))
    }

    /// Sends a request, and takes the reply, which must have the code that follows the request's.
    pub(crate) fn ask<R: Message + Default>(&mut self, code: u8, request: &impl Message) -> io::Result<R> {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, code, request);
        self.0.write_all(&bytes)?;
        self.reply(code + 1)
    }

    /// Takes a reply of this code.
    pub(crate) fn reply<R: Message + Default>(&mut self, code: u8) -> io::Result<R> {
        let frame = read_frame(&mut self.0).map_err(io::Error::other)?;
        let frame = frame.ok_or_else(|| io::Error::other("the server hung up"))?;
        if frame.code != code {
            let text = String::from_utf8_lossy(&frame.body).into_owned();
            return Err(io::Error::other(format!("reply {} and not {code}: {text}", frame.code)));
        }
        R::decode(&frame.body[..]).map_err(io::Error::other)
    }

    #[cfg(test)]
    pub(crate) fn raw(&mut self) -> &mut TcpStream {
        &mut self.0
    }
}

fn expect(holds: bool, what: &str) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::other(format!("not so: {what}"))) }
}

/// Two blind puts make two siblings, a third with their vclock makes one of them, and a delete none.
pub(crate) fn run(server: SocketAddr) -> io::Result<()> {
    let (bucket, key) = (b"smoke".to_vec(), b"k".to_vec());
    let mut client = Connection::to(server)?;
    let _: Nothing = client.ask(code::PING, &Nothing {})?;
    let properties = BucketProperties { allow_mult: Some(true), ..BucketProperties::default() };
    let set = SetBucketRequest { bucket: bucket.clone(), properties, bucket_type: None };
    let _: Nothing = client.ask(code::SET_BUCKET, &set)?;
    let put = |value: &str, vclock: Option<Vec<u8>>| PutRequest {
        bucket: bucket.clone(),
        key: Some(key.clone()),
        vclock,
        content: Content { value: value.into(), ..Content::default() },
        ..PutRequest::default()
    };
    let get = GetRequest { bucket: bucket.clone(), key: key.clone(), ..GetRequest::default() };
    for value in ["one", "two"] {
        let _: PutReply = client.ask(code::PUT, &put(value, None))?;
    }
    let both: GetReply = client.ask(code::GET, &get)?;
    expect(both.content.len() == 2 && both.vclock.is_some(), "two blind puts are two siblings")?;
    let _: PutReply = client.ask(code::PUT, &put("both", both.vclock))?;
    let merged: GetReply = client.ask(code::GET, &get)?;
    expect(merged.content.len() == 1 && merged.content[0].value == b"both", "a put with their vclock is one value")?;
    let delete = DeleteRequest { bucket: bucket.clone(), key: key.clone(), ..DeleteRequest::default() };
    let _: Nothing = client.ask(code::DELETE, &delete)?;
    let gone: GetReply = client.ask(code::GET, &get)?;
    expect(gone.content.is_empty(), "what is deleted is gone")
}
