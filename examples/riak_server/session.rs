//! One connection: requests in, replies out, in order.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read, Write};

use prost::Message;

use crate::messages::{
    BucketReply, BucketRequest, ClientId, CounterGetRequest, CounterReply, CounterUpdateRequest, DeleteRequest,
    ErrorReply, GetRequest, ListBucketsRequest, ListKeysRequest, Listed, Nothing, PreferenceListReply,
    PreferenceListRequest, PutRequest, ServerInfo, SetBucketRequest, code,
};
use crate::refusal::Refusal;
use crate::store::Store;
use crate::wire::{Frame, FrameError, put_frame, read_frame};

/// Clients ask for the version, and use what Riak had in it. In this one there were neither time series nor anything
/// else beyond what is answered here, but for bucket types and what goes with them.
const VERSION: &str = "2.1.4";

pub(crate) struct Session<W: Write> {
    store: Store,
    out: W,
    client_id: Vec<u8>,
}

/// Why a request was not answered, or the connection ends.
enum Failure {
    /// The client is told, and may go on.
    Refused(Refusal),
    /// It is gone.
    Gone(io::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl<W: Write> Session<W> {
    pub(crate) fn new(store: Store, out: W) -> Self {
        Self { store, out, client_id: vec![0; 4] }
    }

    /// Answers until the client hangs up, or sends what can't be told apart from the next request.
    pub(crate) fn run(&mut self, input: impl Read) -> io::Result<()> {
        let mut input = BufReader::new(input);
        loop {
            match read_frame(&mut input) {
                Ok(Some(frame)) => self.answer(&frame)?,
                Ok(None) => return Ok(()),
                Err(FrameError::Io(error)) => return Err(error),
                Err(error @ (FrameError::TooLong(_) | FrameError::Empty)) => {
                    return self.refuse(&Refusal::Garbled(error.to_string()));
                }
            }
        }
    }

    fn answer(&mut self, frame: &Frame) -> io::Result<()> {
        match self.handle(frame) {
            Ok(()) => Ok(()),
            Err(Failure::Refused(refusal)) => self.refuse(&refusal),
            Err(Failure::Gone(error)) => Err(error),
        }
    }

    fn refuse(&mut self, refusal: &Refusal) -> io::Result<()> {
        self.send(code::ERROR, &ErrorReply { message: refusal.to_string().into_bytes(), code: 0 })
    }

    fn send(&mut self, code: u8, message: &impl Message) -> io::Result<()> {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, code, message);
        self.out.write_all(&bytes)
    }

    fn handle(&mut self, frame: &Frame) -> Result<(), Failure> {
        match frame.code {
            code::PING => self.send(code::PING_REPLY, &Nothing {})?,
            code::GET_CLIENT_ID => {
                let client_id = self.client_id.clone();
                self.send(code::GET_CLIENT_ID_REPLY, &ClientId { client_id })?;
            }
            code::SET_CLIENT_ID => {
                self.client_id = decode::<ClientId>(frame)?.client_id;
                self.send(code::SET_CLIENT_ID_REPLY, &Nothing {})?;
            }
            code::SERVER_INFO => {
                let (node, server_version) = (Some(b"quorate@127.0.0.1".to_vec()), Some(VERSION.into()));
                self.send(code::SERVER_INFO_REPLY, &ServerInfo { node, server_version })?;
            }
            code::GET => {
                let request: GetRequest = decode(frame)?;
                known_type(request.bucket_type.as_deref())?;
                let reply = self.store.get(&request)?;
                self.send(code::GET_REPLY, &reply)?;
            }
            code::PUT => {
                let request: PutRequest = decode(frame)?;
                known_type(request.bucket_type.as_deref())?;
                let reply = self.store.put(request)?;
                self.send(code::PUT_REPLY, &reply)?;
            }
            code::DELETE => {
                let request: DeleteRequest = decode(frame)?;
                known_type(request.bucket_type.as_deref())?;
                self.store.delete(&request)?;
                self.send(code::DELETE_REPLY, &Nothing {})?;
            }
            code::LIST_BUCKETS => self.list_buckets(&decode(frame)?)?,
            code::LIST_KEYS => self.list_keys(&decode(frame)?)?,
            code::GET_BUCKET => {
                let bucket = named_bucket(decode(frame)?)?;
                let properties = self.store.shared.properties.of(&mut self.store.nodes, &bucket)?;
                self.send(code::GET_BUCKET_REPLY, &BucketReply { properties })?;
            }
            code::SET_BUCKET => {
                let SetBucketRequest { bucket, properties, bucket_type } = decode(frame)?;
                let bucket = named_bucket(BucketRequest { bucket, bucket_type })?;
                self.store.shared.properties.set(&mut self.store.nodes, &bucket, properties)?;
                self.send(code::SET_BUCKET_REPLY, &Nothing {})?;
            }
            code::RESET_BUCKET => {
                let bucket = named_bucket(decode(frame)?)?;
                self.store.shared.properties.reset(&mut self.store.nodes, &bucket)?;
                self.send(code::RESET_BUCKET_REPLY, &Nothing {})?;
            }
            code::PREFERENCE_LIST => {
                let request: PreferenceListRequest = decode(frame)?;
                known_type(request.bucket_type.as_deref())?;
                let items = self.store.preference_list(&request)?;
                self.send(code::PREFERENCE_LIST_REPLY, &PreferenceListReply { items })?;
            }
            code::COUNTER_UPDATE => {
                let request: CounterUpdateRequest = decode(frame)?;
                let value = self.store.count(&request)?;
                let value = request.return_value.unwrap_or(false).then_some(value);
                self.send(code::COUNTER_UPDATE_REPLY, &CounterReply { value })?;
            }
            code::COUNTER_GET => {
                let request: CounterGetRequest = decode(frame)?;
                let value = self.store.counter(&request)?;
                self.send(code::COUNTER_GET_REPLY, &CounterReply { value })?;
            }
            code => return Err(Refusal::Code(code).into()),
        }
        Ok(())
    }

    /// Each bucket that has a key, once. As in Riak this goes over all keys of all buckets.
    fn list_buckets(&mut self, request: &ListBucketsRequest) -> Result<(), Failure> {
        known_type(request.bucket_type.as_deref())?;
        let streams = request.stream.unwrap_or(false);
        let (mut seen, mut fresh) = (BTreeSet::new(), Vec::new());
        let out = &mut self.out;
        self.store.list(request.timeout, |page| -> Result<(), Failure> {
            let new = page.iter().map(|(bucket, _)| bucket.to_vec()).filter(|bucket| seen.insert(bucket.clone()));
            fresh.extend(new);
            if streams && !fresh.is_empty() {
                let listed = Listed { names: std::mem::take(&mut fresh), done: None };
                write_frame(out, code::LIST_BUCKETS_REPLY, &listed)?;
            }
            Ok(())
        })?;
        let done = streams.then_some(true);
        Ok(self.send(code::LIST_BUCKETS_REPLY, &Listed { names: fresh, done })?)
    }

    /// Keys always come in a stream.
    fn list_keys(&mut self, request: &ListKeysRequest) -> Result<(), Failure> {
        let bucket =
            named_bucket(BucketRequest { bucket: request.bucket.clone(), bucket_type: request.bucket_type.clone() })?;
        let out = &mut self.out;
        self.store.list(request.timeout, |page| -> Result<(), Failure> {
            let keys = page.iter().filter(|(of, _)| *of == bucket).map(|(_, key)| key.to_vec());
            let names: Vec<_> = keys.collect();
            if !names.is_empty() {
                write_frame(out, code::LIST_KEYS_REPLY, &Listed { names, done: None })?;
            }
            Ok(())
        })?;
        Ok(self.send(code::LIST_KEYS_REPLY, &Listed { names: Vec::new(), done: Some(true) })?)
    }
}

fn write_frame(out: &mut impl Write, code: u8, message: &impl Message) -> io::Result<()> {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, code, message);
    out.write_all(&bytes)
}

fn decode<M: Message + Default>(frame: &Frame) -> Result<M, Refusal> {
    M::decode(&frame.body[..]).map_err(|error| Refusal::Garbled(error.to_string()))
}

fn known_type(bucket_type: Option<&[u8]>) -> Result<(), Refusal> {
    match bucket_type {
        None | Some(b"default" | b"") => Ok(()),
        Some(other) => Err(Refusal::BucketType(String::from_utf8_lossy(other).into_owned())),
    }
}

fn named_bucket(request: BucketRequest) -> Result<Vec<u8>, Refusal> {
    known_type(request.bucket_type.as_deref())?;
    if request.bucket.is_empty() { Err(Refusal::Empty("Bucket")) } else { Ok(request.bucket) }
}
