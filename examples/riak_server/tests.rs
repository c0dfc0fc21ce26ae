use std::io::Write;
use std::net::SocketAddr;

use super::*;
use crate::messages::*;
use crate::smoke::Connection;

fn server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new(start().unwrap());
    std::thread::spawn(move || serve(&listener, &shared));
    address
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        bucket: b"b".to_vec(),
        key: Some(key.into()),
        content: Content { value: value.into(), ..Content::default() },
        ..PutRequest::default()
    }
}

fn get(key: &str) -> GetRequest {
    GetRequest { bucket: b"b".to_vec(), key: key.into(), ..GetRequest::default() }
}

fn allow_mult(client: &mut Connection) {
    let properties = BucketProperties { allow_mult: Some(true), ..BucketProperties::default() };
    let set = SetBucketRequest { bucket: b"b".to_vec(), properties, bucket_type: None };
    let _: Nothing = client.ask(code::SET_BUCKET, &set).unwrap();
}

/// What the server says when it refuses.
fn refusal(client: &mut Connection, code: u8, request: &impl prost::Message) -> String {
    let mut bytes = Vec::new();
    wire::put_frame(&mut bytes, code, request);
    client.raw().write_all(&bytes).unwrap();
    let reply: ErrorReply = client.reply(code::ERROR).unwrap();
    String::from_utf8(reply.message).unwrap()
}

#[test]
fn the_smoke_test_passes() {
    smoke::run(server()).unwrap();
}

#[test]
fn what_is_refused_leaves_the_connection_usable() {
    let mut client = Connection::to(server()).unwrap();
    assert_eq!(refusal(&mut client, 200, &Nothing {}), "Unknown message code: 200");
    client.raw().write_all(&[0, 0, 0, 3, code::GET, 0xff, 0xff]).unwrap();
    let garbled: ErrorReply = client.reply(code::ERROR).unwrap();
    assert!(garbled.message.starts_with(b"Message decoding error: "));
    assert_eq!(refusal(&mut client, code::GET, &get("")), "Key cannot be zero-length");
    assert_eq!(refusal(&mut client, code::GET, &GetRequest { r: Some(4), ..get("k") }), "{n_val_violation,3}");
    let typed = GetRequest { bucket_type: Some(b"maps".to_vec()), ..get("k") };
    assert_eq!(refusal(&mut client, code::GET, &typed), "No bucket-type named 'maps'");
    let long = put("k", &"x".repeat(2 << 20));
    assert!(refusal(&mut client, code::PUT, &long).contains("more than the limit"));
    let forged = PutRequest { vclock: Some(b"made up".to_vec()), ..put("k", "v") };
    assert!(refusal(&mut client, code::PUT, &forged).contains("context"));
    let _: Nothing = client.ask(code::PING, &Nothing {}).unwrap();
}

#[test]
fn a_frame_beyond_all_measure_is_refused_and_ends_the_connection() {
    let mut client = Connection::to(server()).unwrap();
    client.raw().write_all(&[0x7f, 0xff, 0xff, 0xff]).unwrap();
    let refused: ErrorReply = client.reply(code::ERROR).unwrap();
    assert!(refused.message.ends_with(b"is longer than the limit of 16777216"));
    assert!(client.ask::<Nothing>(code::PING, &Nothing {}).is_err());
}

#[test]
fn conditions_are_kept() {
    let mut client = Connection::to(server()).unwrap();
    let only_new = PutRequest { if_none_match: Some(true), return_body: Some(true), ..put("k", "1") };
    let first: PutReply = client.ask(code::PUT, &only_new).unwrap();
    assert_eq!(refusal(&mut client, code::PUT, &only_new), "match_found");
    let unmodified = |key: &str, vclock: &Option<Vec<u8>>| PutRequest {
        if_not_modified: Some(true),
        vclock: vclock.clone(),
        ..put(key, "2")
    };
    let _: PutReply = client.ask(code::PUT, &unmodified("k", &first.vclock)).unwrap();
    assert_eq!(refusal(&mut client, code::PUT, &unmodified("k", &first.vclock)), "modified");
    assert_eq!(refusal(&mut client, code::PUT, &unmodified("other", &None)), "notfound");

    let now: GetReply = client.ask(code::GET, &get("k")).unwrap();
    let if_modified = GetRequest { if_modified: now.vclock.clone(), ..get("k") };
    let same: GetReply = client.ask(code::GET, &if_modified).unwrap();
    assert_eq!((same.unchanged, same.content.len()), (Some(true), 0));
    let old = GetRequest { if_modified: first.vclock, ..get("k") };
    let changed: GetReply = client.ask(code::GET, &old).unwrap();
    assert_eq!((changed.unchanged, &changed.content[0].value[..]), (None, &b"2"[..]));
}

#[test]
fn a_head_has_everything_but_the_value() {
    let mut client = Connection::to(server()).unwrap();
    let mut request = PutRequest { return_head: Some(true), ..put("k", "value") };
    request.content.content_type = Some(b"text/plain".to_vec());
    let put: PutReply = client.ask(code::PUT, &request).unwrap();
    let got: GetReply = client.ask(code::GET, &GetRequest { head: Some(true), ..get("k") }).unwrap();
    for content in [&put.content[0], &got.content[0]] {
        assert_eq!((&content.value[..], content.content_type.as_deref()), (&b""[..], Some(&b"text/plain"[..])));
        assert!(content.vtag.is_some() && content.last_modified.is_some());
    }
}

#[test]
fn a_new_value_after_a_delete_goes_on_from_it() {
    let mut client = Connection::to(server()).unwrap();
    allow_mult(&mut client);
    let _: PutReply = client.ask(code::PUT, &put("k", "old")).unwrap();
    let delete = DeleteRequest { bucket: b"b".to_vec(), key: b"k".to_vec(), ..DeleteRequest::default() };
    let _: Nothing = client.ask(code::DELETE, &delete).unwrap();
    let gone: GetReply = client.ask(code::GET, &get("k")).unwrap();
    assert_eq!(gone, GetReply::default());
    let gone: GetReply = client.ask(code::GET, &GetRequest { deleted_vclock: Some(true), ..get("k") }).unwrap();
    assert!(gone.content.is_empty() && gone.vclock.is_some());
    let _: PutReply = client.ask(code::PUT, &PutRequest { vclock: gone.vclock, ..put("k", "new") }).unwrap();
    let there: GetReply = client.ask(code::GET, &get("k")).unwrap();
    assert_eq!(there.content.iter().map(|content| &content.value[..]).collect::<Vec<_>>(), [b"new"]);
}

#[test]
fn a_bucket_without_siblings_shows_the_last_of_those_it_had() {
    let mut client = Connection::to(server()).unwrap();
    allow_mult(&mut client);
    for value in ["1", "2", "3"] {
        let _: PutReply = client.ask(code::PUT, &put("k", value)).unwrap();
    }
    let bucket = BucketRequest { bucket: b"b".to_vec(), bucket_type: None };
    let _: Nothing = client.ask(code::RESET_BUCKET, &bucket).unwrap();
    let there: GetReply = client.ask(code::GET, &get("k")).unwrap();
    assert_eq!(there.content.iter().map(|content| &content.value[..]).collect::<Vec<_>>(), [b"3"]);
}

#[test]
fn counters_lose_no_increment_of_clients_side_by_side() {
    let server = server();
    let mut client = Connection::to(server).unwrap();
    let update = |amount| CounterUpdateRequest {
        bucket: b"b".to_vec(),
        key: b"c".to_vec(),
        amount,
        ..CounterUpdateRequest::default()
    };
    assert!(refusal(&mut client, code::COUNTER_UPDATE, &update(1)).contains("allow_mult"));
    allow_mult(&mut client);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = Connection::to(server).unwrap();
                for amount in 1..=25 {
                    let _: CounterReply = client.ask(code::COUNTER_UPDATE, &update(amount)).unwrap();
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let read = CounterGetRequest { bucket: b"b".to_vec(), key: b"c".to_vec(), ..CounterGetRequest::default() };
    let reply: CounterReply = client.ask(code::COUNTER_GET, &read).unwrap();
    assert_eq!(reply.value, Some(4 * 325));
    let seen: GetReply = client.ask(code::GET, &get("c")).unwrap();
    assert_eq!(seen.content[0].value, b"1300");
    let down: CounterReply =
        client.ask(code::COUNTER_UPDATE, &CounterUpdateRequest { return_value: Some(true), ..update(-1_301) }).unwrap();
    assert_eq!(down.value, Some(-1));
    let _: PutReply = client.ask(code::PUT, &put("plain", "5")).unwrap();
    let plain = CounterGetRequest { key: b"plain".to_vec(), ..read };
    assert_eq!(refusal(&mut client, code::COUNTER_GET, &plain), "the object is not a counter");
}

#[test]
fn a_preference_list_names_the_owners() {
    let mut client = Connection::to(server()).unwrap();
    let request = PreferenceListRequest { bucket: b"b".to_vec(), key: b"k".to_vec(), bucket_type: None };
    let list: PreferenceListReply = client.ask(code::PREFERENCE_LIST, &request).unwrap();
    assert_eq!(list.items.len(), 3);
    assert!(list.items.iter().all(|item| item.primary && item.node.ends_with(b"@quorate")));
}

#[test]
fn while_nodes_crash_and_come_back_no_acknowledged_write_is_lost() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new(start().unwrap());
    let cluster = Arc::clone(&shared.cluster);
    std::thread::spawn(move || serve(&listener, &shared));
    let mut client = Connection::to(address).unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..10 {
        let node = cluster.members()[round % 5];
        cluster.crash(node, SimDisk::crash);
        for step in 0..10 {
            let key = format!("{round}/{step}");
            let written: std::io::Result<PutReply> = client.ask(code::PUT, &put(&key, &key));
            if written.is_ok() {
                acknowledged.push(key);
            }
        }
        cluster.restart(node).unwrap();
    }
    assert!(acknowledged.len() > 90, "{} of 100 puts", acknowledged.len());
    assert!(cluster.settle(Duration::from_secs(60)) && cluster.hints_settled(Duration::from_secs(60)));
    for key in acknowledged {
        let there: GetReply = client.ask(code::GET, &get(&key)).unwrap();
        assert_eq!(there.content[0].value, key.as_bytes());
    }
}

#[test]
fn primaries_that_are_asked_for_must_be_there() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new(start().unwrap());
    let cluster = Arc::clone(&shared.cluster);
    std::thread::spawn(move || serve(&listener, &shared));
    let mut client = Connection::to(address).unwrap();
    let request = PreferenceListRequest { bucket: b"b".to_vec(), key: b"k".to_vec(), bucket_type: None };
    let list: PreferenceListReply = client.ask(code::PREFERENCE_LIST, &request).unwrap();
    let first = String::from_utf8(list.items[0].node.clone()).unwrap();
    let owner = cluster.members().into_iter().find(|node| first == format!("{node}@quorate")).unwrap();
    cluster.stop(owner);

    // Two owners and a fallback are three answers, of which two are of primaries.
    let write = |w, pw| PutRequest { w: Some(w), pw: Some(pw), timeout: Some(1_500), ..put("k", "v") };
    let _: PutReply = client.ask(code::PUT, &write(3, 2)).unwrap();
    assert!(refusal(&mut client, code::PUT, &write(1, 3)).starts_with("too few replicas acknowledged it: 2 of 3"));
    let read = |r, pr| GetRequest { r: Some(r), pr: Some(pr), timeout: Some(1_500), ..get("k") };
    let there: GetReply = client.ask(code::GET, &read(3, 2)).unwrap();
    assert_eq!(there.content[0].value, b"v");
    assert!(refusal(&mut client, code::GET, &read(1, 3)).starts_with("too few replicas answered: 2 of 3"));

    let list: PreferenceListReply = client.ask(code::PREFERENCE_LIST, &request).unwrap();
    assert_eq!(list.items.iter().map(|item| item.primary).collect::<Vec<_>>(), [true, true, false]);
    cluster.restart(owner).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(60);
    // Those who suspect it have yet to hear of it.
    while client.ask::<PutReply>(code::PUT, &write(1, 3)).is_err() {
        assert!(std::time::Instant::now() < until);
    }
}
