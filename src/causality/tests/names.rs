//! Names for old starts, each rule with the harm that breaking it does.

use super::super::Update;
use super::world::{Key, Owner, RULES, exchange, read};
use super::{dot, dots, entry};
use crate::dots::DotSet;
use crate::hash::Secret;
use crate::ids::NodeId;
use crate::names::{Definition, Name, Named, Names, Unknown};

const A: Key = 0;

/// A dictionary that knows one name: of this set.
fn naming(set: &DotSet) -> (Names, Name) {
    let mut names = Names::new(Secret::new([1; 16]));
    let name = names.learn(&Definition::new(None, set.clone()).expect("there is something to name")).unwrap();
    (names, name)
}

/// N1. Owner 2 names {a3.1}, owner 1 names {a0.1}, neither having heard of the other. A client reads w0@a3.1 through 2
/// and deletes it through 1. If both call theirs "the first", owner 1 takes the context for {a0.1}: w1, acknowledged
/// and read by nobody, is gone, and w0 stays.
#[test]
fn a_name_by_a_counter_deletes_an_acknowledged_write_that_nobody_read() {
    for wrong in [false, true] {
        let mut owners = [0, 1, 2].map(Owner::new);
        owners[2].take(A, &Update::put(entry(dot(3, 1), "w0"), &DotSet::new()));
        let w1 = owners[0].put(A, "w1", &DotSet::new());
        owners[1].take(A, &w1);
        let shown = read([&owners[2]], A).covered;
        let seen = if wrong {
            let tables = [vec![], vec![owners[1].clock.clone()], vec![shown]];
            let token = 0;
            tables[1][token].clone()
        } else {
            let ((mut one, _), (two, name)) = (naming(&owners[1].clock), naming(&shown));
            let token = two.compress(&shown, |_| true);
            assert_eq!(
                (&token, one.whole(&token)),
                (&Named { head: Some(name), ..Named::default() }, Err(Unknown(name)))
            );
            for definition in two.rows_for(name, |name| one.knows(name)).unwrap() {
                one.learn(&definition).unwrap();
            }
            one.whole(&token).unwrap()
        };
        owners[1].delete(A, &seen);
        exchange(&mut owners, true, RULES);
        assert_eq!(owners[2].values(A), if wrong { ["w0"] } else { ["w1"] });
    }
}

/// N2. Owner 1 has w0 and w1, and a name for both. A client reads owner 0, which has w0 alone. A context that says the
/// name all the same speaks for w1: the client's put supersedes what it never saw.
#[test]
fn a_name_that_is_not_inside_the_set_kills_a_write_that_nobody_read() {
    for wrong in [false, true] {
        let (mut zero, mut one) = (Owner::new(0), Owner::new(1));
        let w0 = zero.put(A, "w0", &DotSet::new());
        one.take(A, &w0);
        one.put(A, "w1", &DotSet::new());
        let (names, name) = naming(&one.clock);
        let shown = read([&zero], A).covered;
        let token = if wrong { Named { head: Some(name), rest: shown } } else { names.compress(&shown, |_| true) };
        one.put(A, "w2", &names.whole(&token).unwrap());
        assert_eq!(one.values(A), if wrong { vec!["w2"] } else { vec!["w1", "w2"] });
    }
}

/// N3. A client reads w0 at owner 0, and puts w2 through owner 1, which doesn't know the name in the context. Taken for
/// nothing, w0 stands beside the value that had replaced it; taken for all that owner 1 has seen, w1 is gone unread.
#[test]
fn an_unknown_name_that_is_guessed_at_doubles_or_loses_a_value() {
    #[derive(Clone, Copy, PartialEq)]
    enum Guess {
        Asks,
        Nothing,
        All,
    }
    for (guess, values) in
        [(Guess::Asks, vec!["w1", "w2"]), (Guess::Nothing, vec!["w0", "w1", "w2"]), (Guess::All, vec!["w2"])]
    {
        let (mut zero, mut one) = (Owner::new(0), Owner::new(1));
        let w0 = zero.put(A, "w0", &DotSet::new());
        let shown = read([&zero], A).covered;
        one.take(A, &w0);
        one.put(A, "w1", &DotSet::new());
        let (zeros, name) = naming(&shown);
        let token = zeros.compress(&shown, |_| true);
        let (mut ones, _) = naming(&dots([dot(8, 1)]));
        let seen = match (ones.whole(&token), guess) {
            (Ok(_), _) => panic!("it can't know"),
            (Err(_), Guess::Nothing) => token.rest,
            (Err(_), Guess::All) => one.clock.clone(),
            (Err(Unknown(lacking)), Guess::Asks) => {
                assert_eq!(lacking, name);
                zeros
                    .rows_for(name, |_| false)
                    .unwrap()
                    .iter()
                    .for_each(|definition| _ = ones.learn(definition).unwrap());
                ones.whole(&token).unwrap()
            }
        };
        one.put(A, "w2", &seen);
        assert_eq!(one.values(A), values);
    }
}

/// N4. A name that one owner alone holds, and loses with its disk, leaves contexts that nobody can expand; one that
/// W = 2 of them hold survives. It is a put that is refused, and never a lost write.
#[test]
fn a_name_that_is_said_before_it_is_spread_leaves_contexts_that_nobody_can_expand() {
    let shown = dots([dot(0, 1), dot(0, 2)]);
    for wrong in [false, true] {
        let (mut zero, name) = naming(&shown);
        zero.held(name, NodeId(0));
        let usable = |names: &Names| names.holders(name, |_| true) >= if wrong { 1 } else { 2 };
        let token = zero.compress(&shown, |_| usable(&zero));
        assert_eq!(token.head.is_some(), wrong, "one owner holds it");
        let others = Names::new(Secret::new([1; 16]));
        assert_eq!(others.whole(&token).is_err(), wrong, "after owner 0 has lost its disk");
        zero.held(name, NodeId(1));
        assert_eq!(zero.compress(&shown, |_| usable(&zero)).head, Some(name), "two do");
    }
}
