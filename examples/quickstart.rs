//! Three nodes in one process: put, get, a conflict, and its resolution.
//!
//! `cargo run --release --example quickstart`

use quorate::{Cluster, Context, Error, NodeId};

fn main() -> Result<(), Error> {
    let cluster = Cluster::builder(3).start()?;
    let bucket = |node| cluster.client(NodeId(node)).and_then(|client| client.bucket("default")).expect("it is up");
    let (alice, bob, carol) = (bucket(1), bucket(2), bucket(3));

    // The first put has read nothing.
    alice.put("greeting", "hello", &Context::empty()).wait()?;

    // Any node serves any key.
    let seen = bob.get("greeting").wait()?;
    println!("bob reads   {:?}", seen.values);

    // Bob and Carol both go on from what was read: neither knows of the other, so both versions stay.
    bob.put("greeting", "hello, Bob", &seen.context).wait()?;
    carol.put("greeting", "hello, Carol", &seen.context).wait()?;
    let both = alice.get("greeting").wait()?;
    println!("alice reads {:?}", both.values);

    // A put with the context of all that was read replaces all of it.
    alice.put("greeting", "hello, Bob and Carol", &both.context).wait()?;
    println!("carol reads {:?}", carol.get("greeting").wait()?.values);
    Ok(())
}
