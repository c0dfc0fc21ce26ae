/// A deliberate fault of the runtime.
pub struct Fault {
    pub name: &'static str,
    /// The scenario that must see it.
    pub seen_by: &'static str,
    pub edits: &'static [Edit],
}

/// A file, a text that stands there once, and the next text after it (or in it), which becomes another.
pub struct Edit(pub &'static str, pub &'static str, pub &'static str, pub &'static str);

const LOCAL: &str = "local.rs";
const PENDING: &str = "pending.rs";
const SERVER: &str = "server.rs";

const CALL: &str = "fn call(&self, (request";
const DELIVER: &str = "fn deliver(&self, next";
const LOOK: &str = "fn look<T>";
const DRIVE: &str = "fn drive(";
const SLEEP: &str = "fn sleep(&self, seen";
const FENCE: &str = "fence(Ordering::SeqCst);";
const MORE: &str = "if !self.inbox.is_empty() {";

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "holder-does-not-look-again",
        seen_by: "two-calls",
        edits: &[Edit(SERVER, CALL, MORE, "if false {")],
    },
    Fault {
        name: "driver-does-not-look-again",
        seen_by: "batch-and-call",
        edits: &[Edit(SERVER, DRIVE, "if self.inbox.is_empty() {", "if true {")],
    },
    Fault {
        name: "deliverer-does-not-look-again",
        seen_by: "delivery-and-call",
        edits: &[Edit(SERVER, DELIVER, MORE, "if false {")],
    },
    Fault {
        name: "looker-does-not-look-again",
        seen_by: "look-and-call",
        edits: &[Edit(SERVER, LOOK, MORE, "if false {")],
    },
    Fault { name: "no-fence-before-a-try", seen_by: "two-calls", edits: &[Edit(SERVER, DRIVE, FENCE, "")] },
    Fault {
        name: "no-fence-after-a-drive",
        seen_by: "batch-and-call",
        edits: &[Edit(
            SERVER,
            "self.drain(state, now);\n            fence(Ordering::SeqCst);\n            if self",
            FENCE,
            "",
        )],
    },
    Fault { name: "no-fence-after-a-call", seen_by: "two-calls", edits: &[Edit(SERVER, CALL, FENCE, "")] },
    Fault {
        name: "no-fence-after-a-delivery",
        seen_by: "delivery-and-call",
        edits: &[Edit(SERVER, DELIVER, FENCE, "")],
    },
    Fault { name: "no-fence-after-a-look", seen_by: "look-and-call", edits: &[Edit(SERVER, LOOK, FENCE, "")] },
    Fault {
        name: "no-fence-at-the-end",
        seen_by: "kill-and-call",
        edits: &[Edit(SERVER, "pending.stop();", FENCE, "")],
    },
    Fault {
        name: "end-forgets-the-inbox",
        seen_by: "kill-and-call",
        edits: &[Edit(SERVER, "pending.stop();", "self.cell.refuse_inbox();", "")],
    },
    Fault {
        name: "end-forgets-what-is-in-progress",
        seen_by: "kill-in-progress",
        edits: &[Edit(SERVER, "fn end(&mut self, sync", "pending.stop();", "")],
    },
    Fault {
        name: "stop-does-not-wait",
        seen_by: "stop-and-peer",
        edits: &[Edit(SERVER, "pub fn stop(mut self)", "count > 0", "count > 9")],
    },
    Fault {
        name: "inbox-fills-for-good",
        seen_by: "full-inbox",
        edits: &[Edit(SERVER, ">= self.limits.inbox {", "self.waiting.fetch_sub(1, Ordering::Relaxed);", "")],
    },
    Fault {
        name: "answered-twice",
        seen_by: "two-calls",
        edits: &[Edit(
            SERVER,
            CALL,
            "if self.enqueue(Incoming::Call((request, Arc::clone(&slot)), now.time)) {",
            "if self.enqueue(Incoming::Call((request, Arc::clone(&slot)), now.time)) {\n                    slot.fill(refusal);",
        )],
    },
    Fault { name: "caller-does-not-arm", seen_by: "deadline", edits: &[Edit(SERVER, CALL, "self.arm();", "")] },
    Fault {
        name: "sleeps-past-a-deadline",
        seen_by: "deadline",
        edits: &[Edit(SERVER, SLEEP, ".load(Ordering::Relaxed) == seen.0", ".load(Ordering::Relaxed) > 0")],
    },
    Fault { name: "no-fence-before-sleep", seen_by: "deadline", edits: &[Edit(SERVER, SLEEP, FENCE, "")] },
    Fault { name: "sleeps-past-the-end", seen_by: "kill-and-timer", edits: &[Edit(SERVER, SLEEP, "!*ended && ", "")] },
    Fault {
        name: "waits-unseen",
        seen_by: "wait",
        edits: &[Edit(PENDING, "pub fn wait(self) -> T", "State::WaitedFor", "State::Open")],
    },
    Fault {
        name: "awaits-unseen",
        seen_by: "awaited",
        edits: &[Edit(
            PENDING,
            "fn poll(self: Pin<&mut Self>",
            "*state = State::Awaited(context.waker().clone());",
            "*state = State::Open;",
        )],
    },
    Fault {
        name: "awaits-all-unseen",
        seen_by: "await-all",
        edits: &[Edit(PENDING, "fn is_done_or_wakes", "if !done {", "if false {")],
    },
    Fault {
        name: "timeout-drops-the-answer",
        seen_by: "wait-for",
        edits: &[Edit(PENDING, "fn arrives", "if timed_out && !matches!(*state, State::Done(_)) {", "if timed_out {")],
    },
    Fault {
        name: "waits-for-what-has-come",
        seen_by: "wait",
        edits: &[Edit(
            PENDING,
            "pub fn wait(self) -> T",
            "let mut state = self.slot.state.lock();",
            "let mut state = self.slot.state.lock();\n        if !matches!(*state, State::Done(_)) {\n            drop(state);\n            state = self.slot.state.lock();\n            self.slot.arrived.wait(&mut state);\n        }",
        )],
    },
    Fault {
        name: "steps-the-peer-within-the-step",
        seen_by: "two-servers",
        edits: &[
            Edit(
                LOCAL,
                "if delay.is_zero() {",
                "run(|| hand_over(delivery));",
                "let mut next = Some((delivery.from, delivery.messages));\n            delivery.door.deliver(&mut || next.take());",
            ),
            Edit(
                SERVER,
                DELIVER,
                "if self.inbox.is_empty()\n            && let Some(mut state) = self.state.try_lock()",
                "if let Some(mut state) = Some(self.state.lock())",
            ),
        ],
    },
    Fault {
        name: "slow-network-is-not-woken",
        seen_by: "slow-network",
        edits: &[Edit(LOCAL, "fn add(&self, at", "self.state.1.notify_one();", "")],
    },
    Fault {
        name: "slow-network-does-not-end",
        seen_by: "slow-network",
        edits: &[Edit(LOCAL, "impl Drop for Delayed", "self.state.1.notify_one();", "")],
    },
];
