//! Riak's messages, as `riak.proto` and `riak_kv.proto` define them: the tags are theirs, the names are spelt out.

#![allow(clippy::struct_field_names, reason = "the fields have Riak's names")]

use prost::Message;

/// A request, and the code by which it is known.
pub(crate) mod code {
    pub(crate) const ERROR: u8 = 0;
    pub(crate) const PING: u8 = 1;
    pub(crate) const PING_REPLY: u8 = 2;
    pub(crate) const GET_CLIENT_ID: u8 = 3;
    pub(crate) const GET_CLIENT_ID_REPLY: u8 = 4;
    pub(crate) const SET_CLIENT_ID: u8 = 5;
    pub(crate) const SET_CLIENT_ID_REPLY: u8 = 6;
    pub(crate) const SERVER_INFO: u8 = 7;
    pub(crate) const SERVER_INFO_REPLY: u8 = 8;
    pub(crate) const GET: u8 = 9;
    pub(crate) const GET_REPLY: u8 = 10;
    pub(crate) const PUT: u8 = 11;
    pub(crate) const PUT_REPLY: u8 = 12;
    pub(crate) const DELETE: u8 = 13;
    pub(crate) const DELETE_REPLY: u8 = 14;
    pub(crate) const LIST_BUCKETS: u8 = 15;
    pub(crate) const LIST_BUCKETS_REPLY: u8 = 16;
    pub(crate) const LIST_KEYS: u8 = 17;
    pub(crate) const LIST_KEYS_REPLY: u8 = 18;
    pub(crate) const GET_BUCKET: u8 = 19;
    pub(crate) const GET_BUCKET_REPLY: u8 = 20;
    pub(crate) const SET_BUCKET: u8 = 21;
    pub(crate) const SET_BUCKET_REPLY: u8 = 22;
    pub(crate) const RESET_BUCKET: u8 = 29;
    pub(crate) const RESET_BUCKET_REPLY: u8 = 30;
    pub(crate) const PREFERENCE_LIST: u8 = 33;
    pub(crate) const PREFERENCE_LIST_REPLY: u8 = 34;
    pub(crate) const COUNTER_UPDATE: u8 = 50;
    pub(crate) const COUNTER_UPDATE_REPLY: u8 = 51;
    pub(crate) const COUNTER_GET: u8 = 52;
    pub(crate) const COUNTER_GET_REPLY: u8 = 53;
}

/// A message without fields.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Nothing {}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ErrorReply {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) message: Vec<u8>,
    #[prost(uint32, required, tag = "2")]
    pub(crate) code: u32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ClientId {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) client_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ServerInfo {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) node: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) server_version: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Pair {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) value: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Link {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) bucket: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) tag: Option<Vec<u8>>,
}

/// An object's value with what belongs to it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Content {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) value: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) content_type: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) charset: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) content_encoding: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub(crate) vtag: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) links: Vec<Link>,
    #[prost(uint32, optional, tag = "7")]
    pub(crate) last_modified: Option<u32>,
    #[prost(uint32, optional, tag = "8")]
    pub(crate) last_modified_micros: Option<u32>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) user_metadata: Vec<Pair>,
    #[prost(message, repeated, tag = "10")]
    pub(crate) indexes: Vec<Pair>,
    #[prost(bool, optional, tag = "11")]
    pub(crate) deleted: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct GetRequest {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) bucket: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(crate) key: Vec<u8>,
    #[prost(uint32, optional, tag = "3")]
    pub(crate) r: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub(crate) pr: Option<u32>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) basic_quorum: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub(crate) notfound_ok: Option<bool>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(crate) if_modified: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "8")]
    pub(crate) head: Option<bool>,
    #[prost(bool, optional, tag = "9")]
    pub(crate) deleted_vclock: Option<bool>,
    #[prost(uint32, optional, tag = "10")]
    pub(crate) timeout: Option<u32>,
    #[prost(bool, optional, tag = "11")]
    pub(crate) sloppy_quorum: Option<bool>,
    #[prost(uint32, optional, tag = "12")]
    pub(crate) n_val: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "13")]
    pub(crate) bucket_type: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "14")]
    pub(crate) node_confirms: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct GetReply {
    #[prost(message, repeated, tag = "1")]
    pub(crate) content: Vec<Content>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) vclock: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) unchanged: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct PutRequest {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) bucket: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) vclock: Option<Vec<u8>>,
    #[prost(message, required, tag = "4")]
    pub(crate) content: Content,
    #[prost(uint32, optional, tag = "5")]
    pub(crate) w: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    pub(crate) dw: Option<u32>,
    #[prost(bool, optional, tag = "7")]
    pub(crate) return_body: Option<bool>,
    #[prost(uint32, optional, tag = "8")]
    pub(crate) pw: Option<u32>,
    #[prost(bool, optional, tag = "9")]
    pub(crate) if_not_modified: Option<bool>,
    #[prost(bool, optional, tag = "10")]
    pub(crate) if_none_match: Option<bool>,
    #[prost(bool, optional, tag = "11")]
    pub(crate) return_head: Option<bool>,
    #[prost(uint32, optional, tag = "12")]
    pub(crate) timeout: Option<u32>,
    #[prost(bool, optional, tag = "13")]
    pub(crate) as_is: Option<bool>,
    #[prost(bool, optional, tag = "14")]
    pub(crate) sloppy_quorum: Option<bool>,
    #[prost(uint32, optional, tag = "15")]
    pub(crate) n_val: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "16")]
    pub(crate) bucket_type: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "17")]
    pub(crate) node_confirms: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct PutReply {
    #[prost(message, repeated, tag = "1")]
    pub(crate) content: Vec<Content>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) vclock: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) key: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DeleteRequest {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) bucket: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(crate) key: Vec<u8>,
    #[prost(uint32, optional, tag = "3")]
    pub(crate) rw: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) vclock: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "5")]
    pub(crate) r: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    pub(crate) w: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    pub(crate) pr: Option<u32>,
    #[prost(uint32, optional, tag = "8")]
    pub(crate) pw: Option<u32>,
    #[prost(uint32, optional, tag = "9")]
    pub(crate) dw: Option<u32>,
    #[prost(uint32, optional, tag = "10")]
    pub(crate) timeout: Option<u32>,
    #[prost(bool, optional, tag = "11")]
    pub(crate) sloppy_quorum: Option<bool>,
    #[prost(uint32, optional, tag = "12")]
    pub(crate) n_val: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "13")]
    pub(crate) bucket_type: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ListBucketsRequest {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) timeout: Option<u32>,
    #[prost(bool, optional, tag = "2")]
    pub(crate) stream: Option<bool>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) bucket_type: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ListKeysRequest {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) bucket: Vec<u8>,
    #[prost(uint32, optional, tag = "2")]
    pub(crate) timeout: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) bucket_type: Option<Vec<u8>>,
}

/// Some of the buckets, or of the keys.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Listed {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) names: Vec<Vec<u8>>,
    #[prost(bool, optional, tag = "2")]
    pub(crate) done: Option<bool>,
}

/// A bucket by its name: to read its properties, or to set them back.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct BucketRequest {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) bucket: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) bucket_type: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct BucketReply {
    #[prost(message, required, tag = "1")]
    pub(crate) properties: BucketProperties,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct SetBucketRequest {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) bucket: Vec<u8>,
    #[prost(message, required, tag = "2")]
    pub(crate) properties: BucketProperties,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) bucket_type: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Function {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) module: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(crate) function: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CommitHook {
    #[prost(message, optional, tag = "1")]
    pub(crate) function: Option<Function>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) name: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct BucketProperties {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) n_val: Option<u32>,
    #[prost(bool, optional, tag = "2")]
    pub(crate) allow_mult: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) last_write_wins: Option<bool>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) precommit: Vec<CommitHook>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) has_precommit: Option<bool>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) postcommit: Vec<CommitHook>,
    #[prost(bool, optional, tag = "7")]
    pub(crate) has_postcommit: Option<bool>,
    #[prost(message, optional, tag = "8")]
    pub(crate) chash_keyfun: Option<Function>,
    #[prost(message, optional, tag = "9")]
    pub(crate) linkfun: Option<Function>,
    #[prost(uint32, optional, tag = "10")]
    pub(crate) old_vclock: Option<u32>,
    #[prost(uint32, optional, tag = "11")]
    pub(crate) young_vclock: Option<u32>,
    #[prost(uint32, optional, tag = "12")]
    pub(crate) big_vclock: Option<u32>,
    #[prost(uint32, optional, tag = "13")]
    pub(crate) small_vclock: Option<u32>,
    #[prost(uint32, optional, tag = "14")]
    pub(crate) pr: Option<u32>,
    #[prost(uint32, optional, tag = "15")]
    pub(crate) r: Option<u32>,
    #[prost(uint32, optional, tag = "16")]
    pub(crate) w: Option<u32>,
    #[prost(uint32, optional, tag = "17")]
    pub(crate) pw: Option<u32>,
    #[prost(uint32, optional, tag = "18")]
    pub(crate) dw: Option<u32>,
    #[prost(uint32, optional, tag = "19")]
    pub(crate) rw: Option<u32>,
    #[prost(bool, optional, tag = "20")]
    pub(crate) basic_quorum: Option<bool>,
    #[prost(bool, optional, tag = "21")]
    pub(crate) notfound_ok: Option<bool>,
    #[prost(bytes = "vec", optional, tag = "22")]
    pub(crate) backend: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "23")]
    pub(crate) search: Option<bool>,
    #[prost(uint32, optional, tag = "24")]
    pub(crate) replication: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "25")]
    pub(crate) search_index: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "26")]
    pub(crate) datatype: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "27")]
    pub(crate) consistent: Option<bool>,
    #[prost(bool, optional, tag = "28")]
    pub(crate) write_once: Option<bool>,
    #[prost(uint32, optional, tag = "29")]
    pub(crate) hll_precision: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct PreferenceListRequest {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) bucket: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) bucket_type: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct PreferenceListReply {
    #[prost(message, repeated, tag = "1")]
    pub(crate) items: Vec<PreferenceListItem>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct PreferenceListItem {
    #[prost(int64, required, tag = "1")]
    pub(crate) partition: i64,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(crate) node: Vec<u8>,
    #[prost(bool, required, tag = "3")]
    pub(crate) primary: bool,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CounterUpdateRequest {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) bucket: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(crate) key: Vec<u8>,
    #[prost(sint64, required, tag = "3")]
    pub(crate) amount: i64,
    #[prost(uint32, optional, tag = "4")]
    pub(crate) w: Option<u32>,
    #[prost(uint32, optional, tag = "5")]
    pub(crate) dw: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    pub(crate) pw: Option<u32>,
    #[prost(bool, optional, tag = "7")]
    pub(crate) return_value: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CounterGetRequest {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) bucket: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(crate) key: Vec<u8>,
    #[prost(uint32, optional, tag = "3")]
    pub(crate) r: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub(crate) pr: Option<u32>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) basic_quorum: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub(crate) notfound_ok: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CounterReply {
    #[prost(sint64, optional, tag = "1")]
    pub(crate) value: Option<i64>,
}
