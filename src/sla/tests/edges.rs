//! Where numbers end: what is all but sure, and what takes longer than can be said.

use super::*;

/// Sixteen nines are more than a number between 0 and 1 can tell from 1.
#[test]
fn what_may_fail_is_not_said_to_be_sure() {
    let sure = Some(1.0);
    let model = Model { nodes: 40, ..Model::linkedin_ssd() };
    for sla in [
        Sla { readable: sure, ..Sla::default() },
        Sla { writeable: sure, ..Sla::default() },
        Sla { durable: sure, ..Sla::default() },
    ] {
        let offered = |model: &Model| advise(&sla, model, 7..=7, trials(10, 1)).unwrap().best().is_some();
        assert!(!offered(&model), "{sla:?}");
        assert!(offered(&Model { up: 1.0, disk_loss: 0.0, ..model.clone() }), "{sla:?}");
    }
    let setting = quorum(3, 2, 2);
    let never = Availability::strict(setting, 0.0);
    assert_eq!([never.reads.to_bits(), never.writes.to_bits()], [0, 0]);
    // So many nodes, hardly any of them up.
    let few = Availability::sloppy(setting, 1e-6, u16::MAX);
    assert!((few.writes - 4.484_6e-5).abs() < 1e-8, "{few:?}");
}

/// No distribution is too wild: what is longer than durations can say is the longest of them.
#[test]
fn what_takes_longer_than_can_be_said_takes_forever() {
    let heavy = || Latency::Pareto { least: MS, shape: 1e-3 };
    let model = Model::alike(Replica { write: ways(heavy(), heavy()), read: ways(heavy(), heavy()) });
    for prediction in predict_copies(3, &Sla::default(), &model, trials(2_000, 1)).unwrap() {
        assert_eq!((prediction.read.value, prediction.write.value), (Duration::MAX, Duration::MAX));
        assert!(prediction.fresh.value > 0.3);
    }
    let nothing = || Latency::Pareto { least: Duration::ZERO, shape: 1e-3 };
    let model = Model::alike(Replica { write: ways(nothing(), nothing()), read: ways(nothing(), nothing()) });
    let prediction = predict(quorum(1, 1, 1), &Sla::default(), &model, trials(10, 1)).unwrap();
    assert_eq!((prediction.read.value, prediction.write.value), (Duration::ZERO, Duration::ZERO));
}
