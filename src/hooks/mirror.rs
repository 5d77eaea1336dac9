//! What a home automation sees of the door: states that are kept at the broker, and what passes.
//!
//! Pure. States are always those of now; what passes is not worth telling later, a ring least of all.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::body;
use super::event::{Told, What};

/// How old what passes may be.
const LATE: Duration = Duration::from_secs(60);

/// The topics of one door.
#[derive(Debug, Clone)]
pub(super) struct Topics {
    root: String,
}

impl Topics {
    pub(super) fn new(base: &str, node: &str) -> Self {
        Self { root: format!("{base}/{node}") }
    }

    /// `online` or `offline`.
    pub(super) fn availability(&self) -> String {
        self.below("status")
    }

    /// `idle`, `ringing` or `talking`.
    pub(super) fn state(&self) -> String {
        self.below("state")
    }

    /// Presses of the doorbell.
    pub(super) fn press(&self) -> String {
        self.below("press")
    }

    /// `ON` while something is out of order.
    pub(super) fn problem(&self) -> String {
        self.below("problem")
    }

    /// What is out of order.
    pub(super) fn parts(&self) -> String {
        self.below("problem/parts")
    }

    /// The last picture of a visitor.
    pub(super) fn picture(&self) -> String {
        self.below("picture")
    }

    /// Every event as JSON.
    pub(super) fn event(&self) -> String {
        self.below("event")
    }

    /// Where the door is asked to open.
    pub(super) fn open(&self) -> String {
        self.below("open/set")
    }

    fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }
}

/// One message to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    /// Whether the broker keeps it for those who come later.
    pub(super) retain: bool,
}

impl Message {
    /// A state, which the broker keeps.
    pub(super) fn state(topic: String, payload: impl Into<Bytes>) -> Self {
        Self { topic, payload: payload.into(), retain: true }
    }

    fn passing(topic: String, payload: impl Into<Bytes>) -> Self {
        Self { topic, payload: payload.into(), retain: false }
    }
}

/// The call, as a home automation sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Idle,
    Ringing,
    Talking,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Ringing => "ringing",
            Self::Talking => "talking",
        }
    }
}

/// The names of all states of a call.
pub(super) const CALL_STATES: [&str; 3] = ["idle", "ringing", "talking"];

/// The states of the door.
#[derive(Debug)]
pub(super) struct Mirror {
    topics: Topics,
    call: Call,
    faults: BTreeSet<String>,
}

impl Mirror {
    pub(super) fn new(topics: Topics) -> Self {
        Self { topics, call: Call::Idle, faults: BTreeSet::new() }
    }

    /// Takes over what an event changes, and only once.
    pub(super) fn learn(&mut self, told: &Told) {
        match told.what() {
            What::Ring { .. } if self.call == Call::Talking => {}
            What::Ring { .. } => self.call = Call::Ringing,
            What::Answered { .. } => self.call = Call::Talking,
            What::Missed { .. } | What::Ended { .. } => self.call = Call::Idle,
            What::Fault { part, over: false } => {
                self.faults.insert(part.clone());
            }
            What::Fault { part, over: true } => {
                self.faults.remove(part);
            }
            What::Opened { .. }
            | What::OpenRefused { .. }
            | What::LookIn { .. }
            | What::Picture { .. } => {}
        }
    }

    /// What to say of an event of this age that was learned before; the states it may have changed are those
    /// of now.
    pub(super) fn messages(&self, told: &Told, age: Duration, jpeg: Option<Bytes>) -> Vec<Message> {
        let mut messages = match told.what() {
            What::Ring { .. }
            | What::Answered { .. }
            | What::Missed { .. }
            | What::Ended { .. } => {
                vec![self.state()]
            }
            What::Fault { .. } => self.problem(),
            What::Picture { .. } => {
                jpeg.map(|jpeg| Message::state(self.topics.picture(), jpeg)).into_iter().collect()
            }
            What::Opened { .. } | What::OpenRefused { .. } | What::LookIn { .. } => Vec::new(),
        };
        if age <= LATE {
            if let What::Ring { again } = told.what() {
                let press = json!({"event_type": "ring", "again": again, "call": told.event.call});
                messages.push(Message::passing(self.topics.press(), press.to_string()));
            }
            messages.push(Message::passing(self.topics.event(), body::json(told)));
        }
        messages
    }

    /// All states, for a broker that may have forgotten them.
    pub(super) fn states(&self) -> Vec<Message> {
        let mut states = vec![Message::state(self.topics.availability(), "online"), self.state()];
        states.extend(self.problem());
        states
    }

    fn state(&self) -> Message {
        Message::state(self.topics.state(), self.call.name())
    }

    fn problem(&self) -> Vec<Message> {
        let problem = if self.faults.is_empty() { "OFF" } else { "ON" };
        let parts = json!({"parts": self.faults}).to_string();
        vec![
            Message::state(self.topics.problem(), problem),
            Message::state(self.topics.parts(), parts),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::event::Event;

    const NOW: Duration = Duration::ZERO;

    fn told(what: What) -> Told {
        Event { call: Some("c-1-7".to_owned()), at: 0, what }.cleaned("front-door")
    }

    fn mirror() -> Mirror {
        Mirror::new(Topics::new("intercomd", "front"))
    }

    /// What an event brings, as lines `topic payload` with `!` where the broker keeps it.
    fn brings(mirror: &mut Mirror, what: What, age: Duration) -> Vec<String> {
        let told = told(what);
        mirror.learn(&told);
        let messages = mirror.messages(&told, age, Some(Bytes::from_static(b"jpeg")));
        let shown = messages.iter().filter(|message| !message.topic.ends_with("/event"));
        shown
            .map(|message| {
                let kept = if message.retain { "!" } else { "" };
                let payload = String::from_utf8_lossy(&message.payload);
                format!("{kept}{} {payload}", message.topic.trim_start_matches("intercomd/front/"))
            })
            .collect()
    }

    #[test]
    fn a_press_passes_and_the_state_stays() {
        let mut mirror = mirror();
        assert_eq!(
            brings(&mut mirror, What::Ring { again: false }, NOW),
            ["!state ringing", r#"press {"again":false,"call":"c-1-7","event_type":"ring"}"#]
        );
        assert_eq!(brings(&mut mirror, What::Answered { name: None }, NOW), ["!state talking"]);
        let ring = brings(&mut mirror, What::Ring { again: true }, NOW);
        assert_eq!(ring[0], "!state talking");
        let ended = What::Ended { cause: "hung-up", talk_s: 1, answered_by: None, opened_by: None };
        assert_eq!(brings(&mut mirror, ended, NOW), ["!state idle"]);
    }

    #[test]
    fn a_ring_that_comes_through_late_rings_no_bell() {
        let late = LATE + Duration::from_secs(1);
        let ring = brings(&mut mirror(), What::Ring { again: false }, late);
        assert_eq!(ring, ["!state ringing"]);
        let all = mirror().messages(&told(What::Opened { by: "x".into(), for_ms: 1 }), late, None);
        assert_eq!(all, []);
    }

    #[test]
    fn there_is_a_problem_until_the_last_fault_is_over() {
        let mut mirror = mirror();
        let mut fault = |part: &str, over| {
            brings(&mut mirror, What::Fault { part: part.to_owned(), over }, NOW)
        };
        assert_eq!(fault("camera", false)[0], "!problem ON");
        assert_eq!(
            fault("line service", false)[1],
            r#"!problem/parts {"parts":["camera","line service"]}"#
        );
        assert_eq!(fault("camera", true)[0], "!problem ON");
        assert_eq!(fault("line service", true), ["!problem OFF", r#"!problem/parts {"parts":[]}"#]);
    }

    #[test]
    fn a_broker_that_forgot_everything_is_told_all_states() {
        let mut mirror = mirror();
        mirror.learn(&told(What::Ring { again: false }));
        let states = mirror.states();
        assert!(states.iter().all(|message| message.retain));
        let rows: Vec<_> = states.iter().map(|m| (m.topic.as_str(), &m.payload[..])).collect();
        assert_eq!(rows[0], ("intercomd/front/status", b"online".as_slice()));
        assert_eq!(rows[1], ("intercomd/front/state", b"ringing".as_slice()));
        assert_eq!(rows[2].0, "intercomd/front/problem");
    }

    #[test]
    fn every_event_is_there_as_json_too() {
        let event = told(What::Opened { by: "Anna".to_owned(), for_ms: 3000 });
        let messages = mirror().messages(&event, NOW, None);
        assert_eq!(messages.len(), 1);
        assert_eq!(
            (messages[0].topic.as_str(), messages[0].retain),
            ("intercomd/front/event", false)
        );
        assert_eq!(messages[0].payload, body::json(&event));
    }

    #[test]
    fn the_states_of_a_call_are_those_that_are_announced() {
        assert_eq!([Call::Idle, Call::Ringing, Call::Talking].map(Call::name), CALL_STATES);
    }
}
