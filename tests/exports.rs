//! What goes out through the facades `tracing` and `metrics`: names, labels and values.

#[cfg(feature = "metrics")]
mod numbers {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString,
        Unit,
    };
    use quorate::{Cluster, Context, NodeId};

    /// Keeps what it is told, by name and labels.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        counters: BTreeMap<String, u64>,
        gauges: BTreeMap<String, f64>,
        histograms: BTreeMap<String, Vec<(f64, usize)>>,
        described: BTreeMap<String, Option<Unit>>,
    }

    struct One(Kept, String);

    impl CounterFn for One {
        fn increment(&self, value: u64) {
            *self.0.0.lock().unwrap().counters.entry(self.1.clone()).or_default() += value;
        }
        fn absolute(&self, _: u64) {
            panic!("a node that is opened again begins at zero")
        }
    }
    impl GaugeFn for One {
        fn increment(&self, _: f64) {
            panic!("gauges are set")
        }
        fn decrement(&self, _: f64) {
            panic!("gauges are set")
        }
        fn set(&self, value: f64) {
            self.0.0.lock().unwrap().gauges.insert(self.1.clone(), value);
        }
    }
    impl HistogramFn for One {
        fn record(&self, value: f64) {
            self.record_many(value, 1);
        }
        fn record_many(&self, value: f64, count: usize) {
            self.0.0.lock().unwrap().histograms.entry(self.1.clone()).or_default().push((value, count));
        }
    }

    impl Kept {
        fn one(&self, key: &Key) -> Arc<One> {
            let mut labels: Vec<String> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            labels.sort();
            Arc::new(One(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
        }
        fn counter(&self, name: &str) -> u64 {
            *self.0.lock().unwrap().counters.get(name).unwrap_or_else(|| panic!("no counter {name}"))
        }
        /// All that are looked at here count something.
        fn gauge(&self, name: &str) -> u64 {
            let state = self.0.lock().unwrap();
            *state.gauges.get(name).unwrap_or_else(|| panic!("no gauge {name}")) as u64
        }
        fn samples(&self, name: &str) -> usize {
            self.0.lock().unwrap().histograms.get(name).into_iter().flatten().map(|(_, count)| count).sum()
        }
    }

    impl Recorder for Kept {
        fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
            self.0.lock().unwrap().described.insert(key.as_str().into(), unit);
        }
        fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
            self.0.lock().unwrap().described.insert(key.as_str().into(), unit);
        }
        fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
            self.0.lock().unwrap().described.insert(key.as_str().into(), unit);
        }
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.one(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.one(key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.one(key))
        }
    }

    #[test]
    fn numbers_are_those_of_the_node_and_go_on_from_one_call_to_the_next() {
        let kept = Kept::default();
        let cluster = Cluster::builder(3).start().unwrap();
        cluster.stop(NodeId(3));
        let bucket = cluster.client(NodeId(1)).unwrap().bucket("default").unwrap();
        let publish = || {
            metrics::with_local_recorder(&kept, || {
                cluster.with_server(NodeId(1), quorate::Server::publish_metrics).expect("it is up");
            });
        };
        for key in 0..5 {
            let _ = bucket.put(format!("k{key}"), "v", &Context::empty()).wait().unwrap();
        }
        // A put is answered before it is known who keeps it for the third owner.
        assert!(cluster.settle(std::time::Duration::from_secs(60)));
        publish();
        assert_eq!(kept.counter("quorate_puts{node=1}"), 5);
        assert_eq!(kept.samples("quorate_request_seconds{node=1,op=put}"), 5);
        let held = cluster.with_server(NodeId(1), |server| server.counters().hints_pending).unwrap();
        assert!(held > 0);
        assert_eq!(kept.gauge("quorate_hints_for{node=1,peer=3}"), held);
        assert_eq!(kept.gauge("quorate_debt{kind=hints,node=1}"), held);
        for key in 0..7 {
            let _ = bucket.put(format!("k{key}"), "w", &Context::empty()).wait().unwrap();
            let _ = bucket.get(format!("k{key}")).wait().unwrap();
        }
        publish();
        publish();
        assert_eq!(kept.counter("quorate_puts{node=1}"), 12, "each is counted once");
        assert_eq!(kept.counter("quorate_gets{node=1}"), 7);
        assert_eq!(kept.samples("quorate_request_seconds{node=1,op=put}"), 12);
        assert_eq!(kept.samples("quorate_request_seconds{node=1,op=get}"), 7);
        assert_eq!(kept.samples("quorate_phase_seconds{node=1,phase=queued}"), 19);
        assert!(kept.samples("quorate_peer_seconds{node=1,op=write,peer=2}") >= 10);
        let state = kept.0.lock().unwrap();
        let name = |labelled: &String| labelled.split('{').next().unwrap().to_string();
        for published in state.counters.keys().chain(state.gauges.keys()).chain(state.histograms.keys()) {
            assert!(state.described.get(&name(published)).is_some_and(Option::is_some), "{published} is not described");
        }
        assert_eq!(state.described["quorate_request_seconds"], Some(Unit::Seconds));
        assert_eq!(state.described["quorate_hint_bytes"], Some(Unit::Bytes));
    }
}

#[cfg(feature = "tracing")]
mod events {
    use std::fmt::Write;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use quorate::config::Timing;
    use quorate::{Cluster, Context, Member, NodeId, PutOptions};
    use tracing::field::{Field, Visit};
    use tracing::{Event, Level, Metadata, Subscriber, span};

    /// Keeps events as text.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<(Level, String, String)>>>);

    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let _ = write!(self.0, "{}={value:?} ", field.name());
        }
    }

    impl Subscriber for Kept {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields(String::new());
            event.record(&mut fields);
            let metadata = event.metadata();
            self.0.lock().unwrap().push((*metadata.level(), metadata.target().into(), fields.0));
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    impl Kept {
        fn has(&self, level: Level, target: &str, part: &str) -> bool {
            let all = self.0.lock().unwrap();
            all.iter().any(|(at, of, fields)| (*at, &of[..]) == (level, target) && fields.contains(part))
        }
    }

    /// Timers run in threads of their own: the subscriber is that of the process. No other test here sets one.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a deadline for what the threads of servers do")]
    fn what_nodes_report_comes_with_targets_levels_and_fields() {
        let kept = Kept::default();
        tracing::subscriber::set_global_default(kept.clone()).unwrap();
        let timing = Timing { slow: Duration::ZERO, ..Timing::default() };
        // Named unlike the nodes of the other test, whose events come here, too.
        let members = (11..=13).map(|node| Member::new(NodeId(node))).collect();
        let cluster = Cluster::builder(3).members(members).timing(timing).start().unwrap();
        let bucket = cluster.client(NodeId(11)).unwrap().bucket("default").unwrap();
        cluster.slow(NodeId(12), Duration::from_millis(5));
        cluster.stop(NodeId(13));
        let _ = bucket.trace_put("k", "v", &Context::empty(), PutOptions::default()).wait().result.unwrap();
        assert!(kept.has(Level::WARN, "quorate::request", "operation=\"put\""), "{:?}", kept.0);
        assert!(kept.has(Level::DEBUG, "quorate::trace", "reached: 2 of 2"), "{:?}", kept.0);
        let until = std::time::Instant::now() + Duration::from_secs(60);
        let wait_for = |level, target, part: &str| {
            while !kept.has(level, target, part) {
                assert!(std::time::Instant::now() < until, "{target} {part}: {:?}", kept.0);
                let _ = bucket.put("k", "v", &Context::empty()).wait();
            }
        };
        wait_for(Level::WARN, "quorate::peers", "peer suspected node=11 peer=13");
        cluster.restart(NodeId(13)).unwrap();
        wait_for(Level::INFO, "quorate::peers", "peer recovered node=11 peer=13");
        wait_for(Level::INFO, "quorate::hints", "all hints delivered node=11 peer=13");
    }
}
