//! One uplink's life as seen from a desk: connect, be greeted, be in the channel, notice death, come back
//! (protocol.md sections 1.3 and 6).
//!
//! Pure: it is told what happened and when, and says what to do. It opens no socket and reads no clock; the
//! uplink task does both. What happens on a greeted socket is in `greeted`, what the channel means in
//! `membership`, what codes mean in `advice`; parts of the session with a theme of their own lie in its folder.

mod loss;
mod succession;
mod ticket;
mod welcome;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::debug;

use self::succession::{OLD_ATTEMPT, Retired, Successor};
use self::ticket::Tickets;
use self::welcome::Welcome;
use super::backoff::Backoff;
use super::desk::{Desk, Ending, Loss};
pub use super::desk::{Input, Output, Setup, Ticket, Wire};
use super::greeted::Greeted;
use super::membership::{Membership, Step};
use super::message::{HubFrame, MAX_INBOUND};
use super::status::{UplinkState, UplinkStatus};
use super::timings::Timings;
use crate::config::names::IceServer;
use crate::intercom::{Outgoing, UplinkCommand};

enum State {
    /// No socket, and none wanted.
    Idle,
    /// No socket until the next attempt.
    Waiting { until: Instant },
    /// A socket is being opened; the welcome is due by then.
    Opening { until: Instant },
    /// The socket is open; the welcome is due by then.
    Greeting { until: Instant },
    /// Greeted.
    Live(Box<Greeted>),
    /// Waiting for the other end to close.
    Closing { until: Instant, next: Next },
    /// Ended for good.
    Stopped,
}

#[derive(Clone, Copy)]
enum Next {
    Rest,
    At(Instant),
    Stop,
}

/// The state machine of one uplink.
pub struct Session {
    name: &'static str,
    arm: bool,
    request_prefix: String,
    timings: Timings,
    state: State,
    desk: Desk,
    backoff: Backoff,
    refused: Option<&'static str>,
    /// The last loss logged for the operator, so that an outage of days is not logged twice a minute.
    reported: Option<String>,
    /// `None` before the first welcome.
    ice_servers: Option<Vec<IceServer>>,
    /// When the relays' credentials are to be replaced, if there are any.
    relays_due: Option<Instant>,
    own_metadata: Option<Arc<Value>>,
    device_clock: Box<dyn FnMut() -> f64 + Send>,
    clock_ahead: Option<i64>,
    tickets: Tickets,
    /// When the last attempt began.
    attempt_since: Instant,
    successor: Successor,
    retired: Retired,
    /// Second sockets that failed in a row.
    successions_failed: u32,
}

impl Session {
    /// A session that begins to connect at once if it is armed.
    pub fn new(now: Instant, setup: Setup) -> Self {
        let membership = Membership::new(setup.timings.membership.clone());
        let mut session = Self {
            name: setup.name,
            arm: setup.arm,
            request_prefix: setup.request_prefix,
            timings: setup.timings,
            state: State::Idle,
            desk: Desk::new(setup.channel, membership),
            backoff: Backoff::new(now, setup.luck),
            refused: None,
            reported: None,
            ice_servers: None,
            relays_due: None,
            own_metadata: None,
            device_clock: setup.device_clock,
            clock_ahead: None,
            tickets: Tickets::new(setup.pass),
            attempt_since: now,
            successor: Successor::None,
            retired: Retired::Gone,
            successions_failed: 0,
        };
        if session.arm {
            session.open(now);
        }
        session
    }

    /// Tells the session something. Drain [`Session::poll_output`] afterwards.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Command(command) => self.command(now, command),
            Input::Wire(wire) => self.wire(now, wire),
            Input::Successor(wire) => self.successor(now, wire),
            Input::Retired => self.retired(now),
            Input::NetworkChanged => self.network_changed(now),
            Input::Tick => self.tick(now),
            Input::Stop => self.stop(now),
        }
        self.follow(now);
        self.rest_if_unwanted(now);
    }

    fn wire(&mut self, now: Instant, wire: Wire) {
        match wire {
            Wire::Opened => {
                if let State::Opening { until } = self.state {
                    self.state = State::Greeting { until };
                }
            }
            Wire::OpenFailed { http, reason } => self.open_failed(now, http, &reason),
            Wire::Text(text) => self.text(now, &text),
            Wire::Life => self.heard(now),
            Wire::Binary => {
                self.desk.counters.malformed += 1;
                self.heard(now);
            }
            Wire::TooBig => self.too_big(now),
            Wire::Closed { code } => self.closed(now, code),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.desk.outputs.pop_front()
    }

    /// When to call `handle` with `Tick` at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.state {
            State::Stopped => return None,
            State::Idle => None,
            State::Waiting { until }
            | State::Opening { until }
            | State::Greeting { until }
            | State::Closing { until, .. } => Some(*until),
            State::Live(live) => live.deadline(&self.desk.membership),
        };
        own.into_iter().chain(self.succession_deadline()).min()
    }

    /// What `status` shows.
    pub fn status(&self) -> UplinkStatus {
        let (state, peer_id) = match &self.state {
            State::Opening { .. } | State::Greeting { .. } => (UplinkState::Connecting, None),
            State::Live(live) if self.desk.membership.is_in() => {
                (UplinkState::Joined, Some(live.own.clone()))
            }
            State::Live(live) => (UplinkState::Connected, Some(live.own.clone())),
            State::Idle | State::Waiting { .. } | State::Closing { .. } | State::Stopped => {
                let refused = self.refused.map(|advice| UplinkState::Refused { advice });
                (refused.unwrap_or(UplinkState::Offline), None)
            }
        };
        let next_retry = match &self.state {
            State::Waiting { until } | State::Closing { next: Next::At(until), .. } => Some(*until),
            _ => None,
        };
        UplinkStatus {
            name: self.name,
            state,
            peer_id,
            attempts: self.backoff.attempts(),
            next_retry,
            problem: self.desk.problem.as_ref().map(|problem| problem.text.clone()),
            ice_servers: self.ice_servers.clone().unwrap_or_default(),
            own_metadata: self.own_metadata.clone(),
            peer_metadata: Arc::clone(&self.desk.peer_metadata),
            expires: self.tickets.ends(),
            clock_ahead: self.clock_ahead,
            counters: self.desk.counters,
        }
    }

    fn open(&mut self, now: Instant) {
        self.desk.counters.connects += 1;
        self.attempt_since = now;
        let ticket = self.tickets.next(now, &self.timings);
        self.state = State::Opening { until: now + self.patience(ticket) };
        self.desk.outputs.push_back(Output::Open(ticket));
    }

    /// How long an attempt may take.
    fn patience(&self, ticket: Ticket) -> Duration {
        match ticket {
            Ticket::Kept => self.timings.welcome,
            Ticket::Fresh => self.timings.welcome + self.timings.token,
        }
    }

    fn is_socket_wanted(&self) -> bool {
        self.arm || self.desk.membership.is_wanted()
    }

    fn command(&mut self, now: Instant, command: UplinkCommand) {
        match command {
            UplinkCommand::Join => {
                if let State::Live(live) = &mut self.state {
                    live.press(now);
                }
                self.desk.membership.join(now);
                self.heed_join(now);
                self.hurry(now);
            }
            UplinkCommand::Leave => self.desk.membership.leave(now),
            UplinkCommand::Send { to, what } => match &mut self.state {
                State::Live(live) => live.send(now, &mut self.desk, to, &what),
                _ => {
                    self.desk.counters.unsent += 1;
                    self.desk.undelivered(matches!(what, Outgoing::Description(_)), to, false);
                }
            },
        }
    }

    /// Somebody is at the door: do not sit out a long delay, as far as the service allows.
    fn hurry(&mut self, now: Instant) {
        let earliest = self.backoff.earliest(now);
        match &mut self.state {
            State::Idle | State::Waiting { .. } if earliest <= now => self.open(now),
            State::Idle | State::Waiting { .. } | State::Closing { next: Next::At(_), .. }
                if self.refused.is_some() =>
            {
                self.desk.membership.give_up();
            }
            State::Idle => self.state = State::Waiting { until: earliest },
            State::Waiting { until } | State::Closing { next: Next::At(until), .. } => {
                *until = earliest.min(*until);
            }
            State::Opening { .. }
            | State::Greeting { .. }
            | State::Live(_)
            | State::Closing { .. }
            | State::Stopped => {}
        }
    }

    /// A way may have come back or gone.
    fn network_changed(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting { until } if self.refused.is_none() => {
                let soonest = self.backoff.earliest(now).max(self.attempt_since + OLD_ATTEMPT);
                *until = soonest.min(*until);
                if soonest <= now {
                    self.backoff.forgive();
                }
                if *until <= now {
                    self.open(now);
                }
            }
            // Its packets may be on their way through an address that is no more.
            State::Opening { .. } if self.attempt_since + OLD_ATTEMPT <= now => {
                self.desk.outputs.push_back(Output::Drop);
                self.open(now);
            }
            State::Live(live) => live.path_changed(now),
            State::Idle
            | State::Waiting { .. }
            | State::Opening { .. }
            | State::Greeting { .. }
            | State::Closing { .. }
            | State::Stopped => {}
        }
    }

    fn open_failed(&mut self, now: Instant, http: Option<u16>, reason: &str) {
        if !matches!(self.state, State::Opening { .. }) {
            return;
        }
        let loss = match http {
            Some(status) => Loss::of_http(status, self.tickets.pass()),
            None => Loss::usual(reason, Ending::Gone),
        };
        self.lose(now, loss);
    }

    fn closed(&mut self, now: Instant, code: Option<u16>) {
        match self.state {
            State::Closing { .. } => self.after_closing(now),
            State::Opening { .. } | State::Greeting { .. } | State::Live(_) => {
                self.lose(now, Loss::of_close(code, self.tickets.pass()));
            }
            State::Idle | State::Waiting { .. } | State::Stopped => {}
        }
    }

    fn heard(&mut self, now: Instant) {
        if let State::Live(live) = &mut self.state {
            live.heard(now);
            self.heed_life(now);
        }
    }

    fn too_big(&mut self, now: Instant) {
        if matches!(self.state, State::Greeting { .. } | State::Live(_)) {
            self.desk.counters.malformed += 1;
            let text = "the signalling side sent a frame larger than 1 MiB";
            self.lose(now, Loss::usual(text, Ending::Bye(1009)));
        }
    }

    fn text(&mut self, now: Instant, text: &str) {
        match &mut self.state {
            State::Live(live) => {
                live.heard_text(now);
                self.heed_life(now);
            }
            State::Greeting { .. } => {}
            _ => return,
        }
        if text.len() > MAX_INBOUND {
            return self.too_big(now);
        }
        if let Some(frame) = self.desk.read(text) {
            self.frame(now, frame);
        }
    }

    fn frame(&mut self, now: Instant, frame: HubFrame) {
        match (&mut self.state, frame) {
            (State::Live(live), frame) => {
                if let Some(loss) = live.frame(now, &mut self.desk, frame) {
                    self.lose(now, loss);
                }
                self.heed_going_away(now);
            }
            (
                State::Greeting { .. },
                HubFrame::Welcome { peer_id, expires_at, server_time, max_message_size, metadata },
            ) => {
                let welcome =
                    Welcome { peer_id, expires_at, server_time, max_message_size, metadata };
                self.welcome(now, welcome);
            }
            _ => debug!("frame before the welcome ignored"),
        }
    }

    fn tick(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting { until } if *until <= now => self.open(now),
            State::Opening { until } | State::Greeting { until } if *until <= now => {
                let text = "the signalling side did not answer in time; check the network and the uplink's \
                            address";
                self.lose(now, Loss::usual(text, Ending::Cut));
            }
            State::Closing { until, .. } if *until <= now => {
                self.desk.outputs.push_back(Output::Drop);
                self.after_closing(now);
            }
            State::Live(live) => {
                if let Some(loss) = live.tick(now, &mut self.desk) {
                    self.lose(now, loss);
                } else if live.is_doubtful(now) {
                    self.doubt(now);
                }
            }
            State::Idle
            | State::Waiting { .. }
            | State::Opening { .. }
            | State::Greeting { .. }
            | State::Closing { .. }
            | State::Stopped => {}
        }
        self.tick_succession(now);
    }

    /// Carries out what the membership decided.
    fn follow(&mut self, now: Instant) {
        if let State::Live(live) = &mut self.state {
            if let Some(loss) = live.follow(now, &mut self.desk) {
                self.lose(now, loss);
            }
            return;
        }
        while let Some(step) = self.desk.membership.step() {
            if let Step::Event(event) = step {
                self.desk.tell(event);
            }
        }
    }

    /// Without `arm` a socket is kept only as long as the channel is wanted.
    fn rest_if_unwanted(&mut self, now: Instant) {
        if self.is_socket_wanted() || self.desk.membership.has_ties() {
            return;
        }
        match self.state {
            State::Waiting { .. } => self.state = State::Idle,
            State::Opening { .. } | State::Greeting { .. } => {
                self.desk.outputs.push_back(Output::Drop);
                self.state = State::Idle;
            }
            State::Live(_) => {
                self.backoff.reset();
                self.end_socket(now, Ending::Bye(1000), Next::Rest);
            }
            State::Idle | State::Closing { .. } | State::Stopped => {}
        }
    }

    fn stop(&mut self, now: Instant) {
        match &mut self.state {
            State::Live(_) => {
                Greeted::farewell(&mut self.desk);
                self.end_socket(now, Ending::Bye(1000), Next::Stop);
            }
            State::Closing { next, .. } => *next = Next::Stop,
            State::Greeting { .. } => self.end_socket(now, Ending::Bye(1000), Next::Stop),
            State::Opening { .. } => self.end_socket(now, Ending::Cut, Next::Stop),
            State::Idle | State::Waiting { .. } => self.end_socket(now, Ending::Gone, Next::Stop),
            State::Stopped => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant as Clock};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::advice::Pass;
    use super::super::bucket::{Bucket, FRAMES};
    use super::*;
    use crate::intercom::{
        Candidate, Description, DescriptionKind, PeerId, Signal, UplinkEvent as Event,
    };

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    /// The time of day on both clocks.
    const NOW: f64 = 1_763_800_000.0;

    /// A session and its virtual clock; the outputs are sorted by kind as they come.
    struct Bench {
        now: Instant,
        session: Session,
        events: Vec<Event>,
        frames: Vec<Value>,
        others: Vec<Output>,
    }

    impl Bench {
        fn with_arm(arm: bool) -> Self {
            Self::new(arm, Pass::Key)
        }

        fn new(arm: bool, pass: Pass) -> Self {
            let setup = Setup {
                name: "service",
                channel: "door".into(),
                arm,
                request_prefix: "r".into(),
                luck: Box::new(|| 0.5),
                device_clock: Box::new(|| NOW),
                pass,
                timings: Timings::default(),
            };
            let now = Clock::now();
            let session = Session::new(now, setup);
            let mut bench = Self { now, session, events: vec![], frames: vec![], others: vec![] };
            bench.drain();
            bench
        }

        fn armed() -> Self {
            Self::with_arm(true)
        }

        /// Greeted, everything so far forgotten.
        fn greeted() -> Self {
            let mut bench = Self::armed();
            bench.greet("own-1");
            bench.forget();
            bench
        }

        /// In the channel with these peers, everything so far forgotten.
        fn joined(peers: &[&str]) -> Self {
            let mut bench = Self::greeted();
            bench.tell(Input::Command(UplinkCommand::Join));
            bench.enter(peers);
            bench.forget();
            bench
        }

        fn tell(&mut self, input: Input) {
            self.session.handle(self.now, input);
            self.drain();
        }

        fn hear(&mut self, frame: Value) {
            self.tell(Input::Wire(Wire::Text(frame.to_string())));
        }

        fn greet(&mut self, own: &str) {
            self.greet_with(json!({"peerId":own,"expiresAt":null}));
        }

        /// A welcome with these fields beside the usual ones.
        fn greet_with(&mut self, fields: Value) {
            self.tell(Input::Wire(Wire::Opened));
            self.hear(welcome(fields));
        }

        /// The second socket is greeted.
        fn greet_successor(&mut self, fields: Value) {
            self.tell(Input::Successor(Wire::Opened));
            self.tell(Input::Successor(Wire::Text(welcome(fields).to_string())));
        }

        /// Greeted for an hour by a token, everything so far forgotten.
        fn with_token() -> Self {
            let mut bench = Self::new(true, Pass::Token);
            bench.greet_with(json!({"peerId":"-door","expiresAt":NOW + 3600.0}));
            bench.forget();
            bench
        }

        /// The same and in the channel.
        fn joined_with_token(peers: &[&str]) -> Self {
            let mut bench = Self::with_token();
            bench.join(peers);
            bench.forget();
            bench
        }

        fn join(&mut self, peers: &[&str]) {
            self.tell(Input::Command(UplinkCommand::Join));
            self.enter(peers);
        }

        /// Time passes on a socket whose other end answers every question.
        fn pass_lively(&mut self, time: Duration) {
            let end = self.now + time;
            while self.now < end {
                self.hear(json!({"type":"pong"}));
                self.pass(SECOND.min(end - self.now));
            }
            self.frames.retain(|frame| frame["type"] != "ping");
        }

        /// How long until the next attempt.
        fn wait(&self) -> Duration {
            let next = self.session.status().next_retry.expect("another attempt is planned");
            next - self.now
        }

        fn enter(&mut self, peers: &[&str]) {
            self.ack("subscribe");
            self.presence(peers, &[]);
        }

        /// Acknowledges the latest request of a type.
        fn ack(&mut self, kind: &str) {
            let id = self.request(kind);
            self.hear(json!({"type":"ack","requestId":id}));
        }

        fn refuse(&mut self, kind: &str, code: &str) {
            let id = self.request(kind);
            self.hear(json!({"type":"error","requestId":id,"code":code}));
        }

        fn request(&self, kind: &str) -> String {
            let frame = self.frames.iter().rev().find(|frame| frame["type"] == kind);
            let id = frame.and_then(|frame| frame["requestId"].as_str());
            id.expect("such a request was sent").to_owned()
        }

        fn presence(&mut self, joined: &[&str], left: &[&str]) {
            let list = |ids: &[&str]| -> Vec<Value> {
                ids.iter().map(|id| json!({"peerId": id})).collect()
            };
            self.hear(json!({"type":"presence","channel":"door","joined":list(joined),
                "left":list(left)}));
        }

        /// Runs the clock for `time`, waking at every deadline on the way.
        fn pass(&mut self, time: Duration) {
            let end = self.now + time;
            while let Some(next) = self.session.poll_timeout().filter(|next| *next <= end) {
                assert!(next >= self.now || self.now == end, "deadlines are not in the past");
                self.now = next.max(self.now);
                self.tell(Input::Tick);
            }
            self.now = end;
        }

        /// Waits for the next attempt.
        fn reopen(&mut self) {
            let next = self.session.status().next_retry.expect("another attempt is planned");
            self.pass(next - self.now);
        }

        fn drain(&mut self) {
            while let Some(output) = self.session.poll_output() {
                match output {
                    Output::Event(event) => self.events.push(event),
                    Output::Frame(text) => {
                        self.frames.push(serde_json::from_str(&text).expect("frames are JSON"));
                    }
                    other => self.others.push(other),
                }
            }
        }

        fn forget(&mut self) {
            self.events.clear();
            self.frames.clear();
            self.others.clear();
        }

        fn events(&mut self) -> Vec<Event> {
            std::mem::take(&mut self.events)
        }

        fn others(&mut self) -> Vec<Output> {
            std::mem::take(&mut self.others)
        }

        fn sent(&mut self, kind: &str) -> Vec<Value> {
            let (wanted, rest) = self.frames.drain(..).partition(|frame| frame["type"] == kind);
            self.frames = rest;
            wanted
        }

        fn send_offer(&mut self, to: &str, size: usize) {
            let description = Description { kind: DescriptionKind::Offer, sdp: "v".repeat(size) };
            let what = Outgoing::Description(description);
            self.tell(Input::Command(UplinkCommand::Send { to: to.into(), what }));
        }

        fn problem(&self) -> String {
            self.session.status().problem.unwrap_or_default()
        }

        fn state(&self) -> UplinkState {
            self.session.status().state
        }
    }

    fn welcome(fields: Value) -> Value {
        let mut frame = json!({"type":"welcome","expiresAt":null,"serverTime":NOW,
            "maxMessageSize":65536});
        for (name, value) in fields.as_object().expect("an object") {
            frame[name] = value.clone();
        }
        frame
    }

    fn up(own: &str) -> Event {
        Event::Up { own: own.into() }
    }

    fn snapshot(ids: &[&str]) -> Event {
        Event::Snapshot(ids.iter().map(|id| PeerId::from(*id)).collect())
    }

    fn undelivered(to: &str, absent: bool) -> Event {
        Event::Undelivered { to: to.into(), absent }
    }

    fn offer_from(peer: &str) -> Value {
        json!({"type":"direct","from":peer,"data":{"type":"rtc-description",
            "description":{"type":"offer","sdp":"v=0"}}})
    }

    #[test]
    fn an_armed_session_connects_greets_and_stays_out_of_the_channel() {
        let mut bench = Bench::armed();
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept)]);
        assert_eq!(bench.state(), UplinkState::Connecting);
        bench.greet("own-1");
        assert_eq!(bench.events(), [up("own-1")]);
        assert_eq!(bench.frames, Vec::<Value>::new());
        assert_eq!(bench.state(), UplinkState::Connected);
    }

    #[test]
    fn an_unarmed_session_connects_for_a_join_and_closes_after_the_leave() {
        let mut bench = Bench::with_arm(false);
        assert_eq!((bench.others(), bench.session.poll_timeout()), (vec![], None));
        bench.tell(Input::Command(UplinkCommand::Join));
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept)]);
        bench.greet("own-1");
        bench.enter(&["a"]);
        assert_eq!(bench.events(), [up("own-1"), Event::Joined, snapshot(&["a"])]);
        bench.tell(Input::Command(UplinkCommand::Leave));
        assert_eq!(bench.others(), []);
        bench.ack("unsubscribe");
        assert_eq!(bench.others(), [Output::Close(1000)]);
        assert_eq!(bench.events(), [Event::Left, Event::Down]);
        bench.tell(Input::Wire(Wire::Closed { code: Some(1000) }));
        assert_eq!((bench.others(), bench.session.poll_timeout()), (vec![], None));
    }

    #[test]
    fn a_press_while_the_old_socket_closes_opens_a_new_one() {
        let mut bench = Bench::with_arm(false);
        bench.tell(Input::Command(UplinkCommand::Join));
        bench.greet("own-1");
        bench.enter(&[]);
        bench.tell(Input::Command(UplinkCommand::Leave));
        bench.ack("unsubscribe");
        bench.tell(Input::Command(UplinkCommand::Join));
        bench.forget();
        bench.tell(Input::Wire(Wire::Closed { code: Some(1000) }));
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept)]);
    }

    #[test]
    fn leaving_before_the_welcome_drops_an_unarmed_attempt() {
        let mut bench = Bench::with_arm(false);
        bench.tell(Input::Command(UplinkCommand::Join));
        bench.tell(Input::Command(UplinkCommand::Leave));
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept), Output::Drop]);
        assert_eq!(bench.events(), [Event::Left]);
    }

    #[test]
    fn the_welcome_is_due_ten_seconds_after_the_attempt_began() {
        let mut bench = Bench::armed();
        bench.forget();
        bench.pass(6 * SECOND);
        bench.tell(Input::Wire(Wire::Opened));
        bench.pass(3 * SECOND);
        assert_eq!(bench.others(), []);
        bench.pass(SECOND);
        assert_eq!(bench.others(), [Output::Drop]);
        assert_eq!(bench.events(), [], "nothing was up");
        bench.pass(SECOND / 2);
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept)]);
    }

    #[test]
    fn garbage_unknown_frames_and_a_second_welcome_change_nothing() {
        let mut bench = Bench::joined(&["a"]);
        for text in
            ["", "{", "[]", r#"{"type":"presence","channel":"door","joined":[5],"left":[]}"#]
        {
            bench.tell(Input::Wire(Wire::Text(text.into())));
        }
        bench.tell(Input::Wire(Wire::Binary));
        bench.hear(json!({"type":"novelty"}));
        bench.hear(json!({"type":"welcome","peerId":"x","serverTime":1,"maxMessageSize":9}));
        bench.hear(json!({"type":"message","channel":"door","from":"a","data":1}));
        bench
            .hear(json!({"type":"presence","channel":"other","joined":[{"peerId":"z"}],"left":[]}));
        bench.hear(json!({"type":"ack","requestId":"never asked"}));
        assert_eq!((bench.events(), bench.others()), (vec![], vec![]));
        let counters = bench.session.status().counters;
        assert_eq!((counters.malformed, counters.unknown), (5, 1));
    }

    #[test]
    fn a_frame_over_a_mebibyte_closes_with_1009() {
        for input in
            [Input::Wire(Wire::TooBig), Input::Wire(Wire::Text("x".repeat(MAX_INBOUND + 1)))]
        {
            let mut bench = Bench::greeted();
            bench.tell(input);
            assert_eq!(bench.others(), [Output::Close(1009)]);
            assert_eq!(bench.events(), [Event::Down]);
            bench.pass(SECOND);
            assert_eq!(
                bench.others(),
                [Output::Drop, Output::Open(Ticket::Kept)],
                "nobody answered the close"
            );
        }
    }

    #[test]
    fn a_lost_socket_while_joined_comes_back_into_the_channel() {
        let mut bench = Bench::joined(&["a"]);
        bench.pass(10 * SECOND);
        bench.forget();
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        assert_eq!(bench.events(), [Event::Down]);
        bench.pass(SECOND / 2);
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept)]);
        bench.greet("own-2");
        bench.enter(&["own-1", "a", "own-2"]);
        let expected = [up("own-2"), Event::Joined, snapshot(&["a"])];
        assert_eq!(bench.events(), expected, "neither ourselves nor our ghost");
        bench.presence(&["b"], &["own-1"]);
        assert_eq!(bench.events(), [Event::Came("b".into())]);
    }

    #[test]
    fn signals_of_our_own_ghost_are_ignored_and_those_of_others_passed_on() {
        let mut bench = Bench::joined(&["a"]);
        bench.hear(offer_from("own-1"));
        assert_eq!(bench.events(), []);
        bench.hear(offer_from("a"));
        let signal =
            Signal::Description(Description { kind: DescriptionKind::Offer, sdp: "v=0".into() });
        assert_eq!(bench.events(), [Event::Signal { from: "a".into(), signal }]);
    }

    #[test]
    fn late_news_of_our_own_id_is_ignored() {
        let mut bench = Bench::joined_with_token(&["a"]);
        bench.presence(&["-door"], &[]);
        bench.presence(&[], &["-door"]);
        bench.hear(offer_from("-door"));
        assert_eq!((bench.events(), bench.others()), (vec![], vec![]));
        assert_eq!(bench.state(), UplinkState::Joined);
    }

    #[test]
    fn a_former_id_of_ours_neither_comes_nor_goes_nor_speaks() {
        let mut bench = Bench::joined(&["a"]);
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        bench.reopen();
        bench.greet("own-2");
        bench.enter(&["own-1", "a"]);
        bench.forget();
        bench.presence(&["own-1"], &[]);
        bench.presence(&[], &["own-1"]);
        bench.hear(offer_from("own-1"));
        assert_eq!(bench.events(), []);
    }

    #[test]
    fn a_token_that_has_to_be_fetched_first_gets_time_of_its_own() {
        let mut bench = Bench::new(true, Pass::Token);
        bench.forget();
        bench.pass(19 * SECOND);
        assert_eq!(bench.others(), []);
        bench.pass(SECOND);
        assert_eq!(bench.others(), [Output::Drop]);
    }

    #[test]
    fn nobody_reaches_an_armed_door_that_is_not_in_the_channel() {
        let mut bench = Bench::greeted();
        bench.hear(offer_from("a"));
        assert_eq!(bench.events(), []);
        assert_eq!(bench.session.status().counters.dropped, 1);
    }

    #[test]
    fn sixteen_former_ids_are_remembered() {
        let mut bench = Bench::armed();
        for number in 0..18 {
            bench.greet(&format!("own-{number}"));
            bench.tell(Input::Wire(Wire::Closed { code: None }));
            bench.reopen();
        }
        bench.greet("own-18");
        bench.tell(Input::Command(UplinkCommand::Join));
        bench.events();
        bench.enter(&["own-0", "own-1", "own-2", "own-17", "own-18", "a"]);
        assert_eq!(bench.events(), [Event::Joined, snapshot(&["a", "own-0", "own-1"])]);
    }

    #[test]
    fn sending_while_down_reports_descriptions_only() {
        let mut bench = Bench::armed();
        bench.send_offer("a", 10);
        let what = Outgoing::EndOfCandidates;
        bench.tell(Input::Command(UplinkCommand::Send { to: "a".into(), what }));
        assert_eq!(bench.events(), [undelivered("a", false)]);
        assert_eq!(bench.session.status().counters.unsent, 2);
    }

    #[test]
    fn the_finished_frame_is_measured_not_the_sdp() {
        let mut bench = Bench::joined(&["a"]);
        bench.send_offer("a", 65_000);
        assert_eq!(bench.sent("send").len(), 1);
        bench.send_offer("a", 65_500);
        assert_eq!(bench.sent("send").len(), 0, "the envelope makes it too large");
        assert_eq!(bench.events(), [undelivered("a", false)]);

        let mut bench = Bench::armed();
        bench.tell(Input::Wire(Wire::Opened));
        bench.hear(json!({"type":"welcome","peerId":"o","serverTime":1,"maxMessageSize":1000}));
        bench.forget();
        bench.send_offer("a", 950);
        assert_eq!(bench.events(), [undelivered("a", false)], "the service may take less");
    }

    #[test]
    fn a_description_is_repeated_once_after_a_passing_error() {
        for code in ["backend_error", "internal_error"] {
            let mut bench = Bench::joined(&["a"]);
            bench.send_offer("a", 10);
            bench.refuse("send", code);
            let first = bench.sent("send");
            assert_eq!(bench.events(), []);
            bench.pass(SECOND / 2);
            assert_eq!(bench.frames, first, "the same frame");
            bench.refuse("send", code);
            assert_eq!(bench.events(), [undelivered("a", false)]);
        }
    }

    #[test]
    fn a_peer_that_is_not_online_is_reported_as_absent() {
        let mut bench = Bench::joined(&["a"]);
        bench.send_offer("a", 10);
        bench.refuse("send", "peer_not_found");
        assert_eq!(bench.events(), [undelivered("a", true)]);
        assert_eq!(bench.problem(), "");
    }

    #[test]
    fn a_description_without_an_ack_is_said_again_after_2_s_and_reported_after_15_more() {
        let mut bench = Bench::joined(&["a"]);
        bench.send_offer("a", 10);
        bench.pass(2 * SECOND);
        assert_eq!(bench.sent("send").len(), 2);
        bench.pass_lively(14 * SECOND);
        assert_eq!(bench.events(), []);
        bench.pass_lively(SECOND);
        assert_eq!(bench.events(), [undelivered("a", false)]);
    }

    #[test]
    fn an_acknowledged_description_is_not_reported_when_the_socket_goes() {
        let mut bench = Bench::joined(&["a", "b"]);
        bench.send_offer("a", 10);
        bench.ack("send");
        bench.send_offer("b", 10);
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        assert_eq!(bench.events(), [undelivered("b", false), Event::Down]);
    }

    #[test]
    fn a_key_without_send_is_named_once_and_the_call_goes_on() {
        let mut bench = Bench::joined(&["a"]);
        bench.send_offer("a", 10);
        bench.refuse("send", "action_not_permitted");
        assert_eq!(bench.events(), [undelivered("a", false)]);
        assert!(bench.problem().contains("enable 'send' for this key"));
        assert_eq!(bench.state(), UplinkState::Joined);
        assert_eq!(bench.others(), []);
    }

    #[test]
    fn a_channel_refusal_ends_the_wish_and_the_socket() {
        for (code, word) in [
            ("channel_not_authorized", "patterns"),
            ("channel_reserved", "belongs to the service"),
            ("invalid_channel", "256 bytes"),
            ("action_not_permitted", "'subscribe'"),
        ] {
            let mut bench = Bench::greeted();
            bench.tell(Input::Command(UplinkCommand::Join));
            bench.refuse("subscribe", code);
            assert_eq!(bench.events(), [Event::JoinRefused, Event::Down], "{code}");
            assert_eq!(bench.others(), [Output::Close(1000)]);
            bench.tell(Input::Wire(Wire::Closed { code: Some(1000) }));
            let UplinkState::Refused { advice } = bench.state() else { panic!("refused is shown") };
            assert!(advice.contains(word), "{code}: {advice}");
            bench.pass(14 * 60 * SECOND);
            assert_eq!(bench.others(), []);
            bench.pass(60 * SECOND);
            assert_eq!(
                bench.others(),
                [Output::Open(Ticket::Kept)],
                "once in a quarter of an hour"
            );
            bench.greet("own-2");
            assert!(bench.problem().contains(word), "still worth knowing until we are in");
        }
    }

    #[test]
    fn a_press_tries_again_sooner_after_a_refusal_but_not_at_once() {
        let mut bench = Bench::greeted();
        bench.tell(Input::Wire(Wire::Closed { code: Some(4001) }));
        bench.forget();
        bench.pass(10 * SECOND);
        bench.tell(Input::Command(UplinkCommand::Join));
        assert_eq!((bench.events(), bench.others()), (vec![Event::JoinRefused], vec![]));
        bench.pass(20 * SECOND);
        bench.tell(Input::Command(UplinkCommand::Join));
        assert_eq!((bench.events(), bench.others()), (vec![], vec![Output::Open(Ticket::Kept)]));
    }

    #[test]
    fn a_press_does_not_sit_out_a_long_ordinary_delay() {
        let mut bench = Bench::armed();
        for _ in 0..8 {
            bench.tell(Input::Wire(Wire::OpenFailed { http: None, reason: "no route".into() }));
            bench.pass(30 * SECOND);
        }
        bench.tell(Input::Wire(Wire::OpenFailed { http: None, reason: "no route".into() }));
        bench.forget();
        bench.pass(SECOND);
        assert_eq!(bench.others(), []);
        bench.tell(Input::Command(UplinkCommand::Join));
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept)]);
    }

    #[test]
    fn a_subscribe_that_passing_errors_refuse_ends_with_a_new_socket() {
        let mut bench = Bench::greeted();
        bench.tell(Input::Command(UplinkCommand::Join));
        for _ in 0..4 {
            bench.refuse("subscribe", "backend_error");
            bench.pass(2 * SECOND);
        }
        assert_eq!(bench.sent("subscribe").len(), 4);
        assert_eq!(bench.others(), [Output::Close(4000), Output::Drop]);
        assert_eq!(bench.events(), [Event::Down], "the wish stays");
        bench.pass(30 * SECOND);
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept)]);
    }

    #[test]
    fn every_close_code_leads_to_its_own_delay() {
        for (code, seconds) in [
            (None, 0.5),
            (Some(1000), 0.5),
            (Some(1001), 0.5),
            (Some(1008), 0.5),
            (Some(1009), 0.5),
            (Some(4001), 900.0),
            (Some(4002), 0.5),
            (Some(4003), 900.0),
            (Some(4010), 30.0),
            (Some(4011), 0.5),
            (Some(4012), 900.0),
            (Some(4020), 900.0),
            (Some(4999), 0.5),
        ] {
            let mut bench = Bench::armed();
            bench.tell(Input::Wire(Wire::Opened));
            bench.tell(Input::Wire(Wire::Closed { code }));
            let status = bench.session.status();
            let wait = status.next_retry.expect("armed sessions come back") - bench.now;
            assert_eq!(wait, Duration::from_secs_f64(seconds), "{code:?}");
            let is_refused = matches!(status.state, UplinkState::Refused { .. });
            assert_eq!(is_refused, seconds > 100.0, "{code:?}");
            assert!(status.problem.is_some());
        }
    }

    #[test]
    fn http_429_waits_half_a_minute() {
        let mut bench = Bench::armed();
        bench.forget();
        bench.tell(Input::Wire(Wire::OpenFailed { http: Some(429), reason: String::new() }));
        bench.pass(29 * SECOND);
        bench.tell(Input::Command(UplinkCommand::Join));
        assert_eq!(bench.others(), [], "not even for a press");
        bench.pass(SECOND);
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept)]);
    }

    #[test]
    fn the_hint_of_going_away_is_the_least_first_delay() {
        // By chance up to a fifth more, and half a second at the least: half of that here.
        for (hint, millis) in [(json!(7000), 7700), (json!(-1), 1250), (json!(1e300), 330_000)] {
            let mut bench = Bench::greeted();
            bench.hear(json!({"type":"going_away","retryAfterMs":hint}));
            assert_eq!(bench.others(), []);
            bench.tell(Input::Wire(Wire::Closed { code: Some(1001) }));
            assert_eq!(bench.wait().as_millis(), millis);
        }
    }

    #[test]
    fn a_service_that_greets_and_closes_at_once_is_not_hammered() {
        let mut bench = Bench::armed();
        let start = bench.now;
        let mut connects = 0;
        while bench.now < start + 60 * SECOND {
            connects += 1;
            bench.greet("own");
            bench.tell(Input::Wire(Wire::Closed { code: Some(1008) }));
            bench.reopen();
        }
        assert!(connects < 10, "{connects} attempts in a minute");
    }

    #[test]
    fn a_socket_that_lived_ends_the_row_of_failures() {
        let mut bench = Bench::armed();
        for _ in 0..6 {
            bench.tell(Input::Wire(Wire::OpenFailed { http: None, reason: "no route".into() }));
            bench.pass(30 * SECOND);
        }
        bench.greet("own");
        bench.pass(5 * SECOND);
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        assert_eq!(bench.session.status().attempts, 1);
    }

    #[test]
    fn silence_is_asked_about_and_then_cut() {
        let mut bench = Bench::greeted();
        bench.pass(20 * SECOND);
        assert_eq!(bench.sent("ping").len(), 1);
        bench.hear(json!({"type":"pong"}));
        bench.pass(20 * SECOND);
        assert_eq!(bench.sent("ping").len(), 1);
        bench.pass(14 * SECOND);
        assert_eq!(bench.others(), []);
        bench.pass(SECOND);
        assert_eq!(bench.others(), [Output::Drop], "without a closing handshake");
        assert_eq!(bench.events(), [Event::Down]);
    }

    #[test]
    fn a_service_without_pong_keeps_the_socket_and_its_error_is_no_problem() {
        let mut bench = Bench::greeted();
        for _ in 0..20 {
            bench.pass(20 * SECOND);
            bench.hear(json!({"type":"error","code":"unknown_type"}));
        }
        assert_eq!(bench.others(), []);
        assert_eq!(bench.problem(), "");
    }

    #[test]
    fn ice_servers_stay_until_a_new_list_comes() {
        let mut bench = Bench::armed();
        let mut after = |metadata: Value| {
            bench.tell(Input::Wire(Wire::Opened));
            bench.hear(json!({"type":"welcome","peerId":"o","serverTime":1,"maxMessageSize":9,
                "metadata":metadata}));
            let count = bench.session.status().ice_servers.len();
            bench.tell(Input::Wire(Wire::Closed { code: None }));
            bench.reopen();
            count
        };
        assert_eq!(after(json!({"iceServers":[{"urls":"stun:a"}]})), 1);
        assert_eq!(after(json!(null)), 1, "absent");
        assert_eq!(after(json!({"iceServers":[{"urls":"http:a"}]})), 1, "rejected");
        assert_eq!(after(json!({"iceServers":[]})), 0, "empty");
    }

    #[test]
    fn stopping_leaves_closes_and_waits_a_second_at_most() {
        let mut bench = Bench::joined(&["a"]);
        bench.tell(Input::Stop);
        assert_eq!(bench.sent("unsubscribe").len(), 1);
        assert_eq!(bench.others(), [Output::Close(1000)]);
        assert_eq!(bench.events(), [Event::Down]);
        bench.pass(SECOND);
        assert_eq!(bench.others(), [Output::Drop, Output::Stopped]);
        assert_eq!(bench.session.poll_timeout(), None);
    }

    #[test]
    fn stopping_works_in_every_state() {
        let mut waiting = Bench::armed();
        waiting.tell(Input::Wire(Wire::OpenFailed { http: None, reason: "x".into() }));
        let mut greeting = Bench::armed();
        greeting.tell(Input::Wire(Wire::Opened));
        let mut closing = Bench::greeted();
        closing.tell(Input::Wire(Wire::TooBig));
        for mut bench in [Bench::with_arm(false), Bench::armed(), waiting, greeting, closing] {
            bench.tell(Input::Stop);
            bench.tell(Input::Stop);
            bench.pass(SECOND);
            let stops = bench.others().iter().filter(|other| **other == Output::Stopped).count();
            assert_eq!(stops, 1);
        }
    }

    #[test]
    fn candidates_and_metadata_keep_their_order_with_the_offer() {
        let mut bench = Bench::joined(&["a"]);
        let to = PeerId::from("a");
        let candidate = Candidate {
            candidate: "candidate:1".into(),
            sdp_mid: Some("0".into()),
            sdp_mline_index: Some(0),
            username_fragment: None,
        };
        let what = Outgoing::TrackMetadata;
        bench.tell(Input::Command(UplinkCommand::Send { to: to.clone(), what }));
        bench.send_offer("a", 5);
        let what = Outgoing::Candidate(candidate);
        bench.tell(Input::Command(UplinkCommand::Send { to, what }));
        let sent = bench.sent("send");
        assert!(sent.iter().all(|frame| frame["to"] == "a" && frame["requestId"].is_string()));
        let kinds: Vec<&str> =
            sent.iter().map(|frame| frame["data"]["type"].as_str().unwrap_or("metadata")).collect();
        assert_eq!(kinds, ["metadata", "metadata", "rtc-description", "rtc-ice"]);
    }

    #[test]
    fn request_ids_are_never_used_twice() {
        let mut bench = Bench::joined(&["a"]);
        for _ in 0..3 {
            bench.send_offer("a", 5);
        }
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        bench.pass(SECOND);
        bench.greet("own-2");
        bench.send_offer("a", 5);
        let mut ids: Vec<String> =
            bench.frames.iter().map(|frame| frame["requestId"].to_string()).collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }

    #[test]
    fn a_lost_socket_is_replaced_at_once_while_somebody_is_at_the_door_and_only_once() {
        for lived in [1, 5] {
            let mut bench = Bench::joined(&["a"]);
            bench.pass_lively(lived * SECOND);
            bench.forget();
            bench.tell(Input::Wire(Wire::Closed { code: None }));
            bench.pass(Duration::ZERO);
            assert_eq!(bench.others(), [Output::Open(Ticket::Kept)]);
            for millis in [500, 1000, 2000, 4000, 4000, 4000] {
                bench.tell(Input::Wire(Wire::OpenFailed { http: None, reason: "no route".into() }));
                assert_eq!(
                    bench.wait().as_millis(),
                    millis,
                    "a visitor's picture is not missed for long"
                );
                bench.reopen();
            }
        }
    }

    #[test]
    fn a_socket_that_is_lost_young_twice_in_a_row_is_a_row_of_failures() {
        let mut bench = Bench::joined(&["a"]);
        bench.pass_lively(SECOND);
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        bench.pass(Duration::ZERO);
        bench.greet("own");
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        assert_eq!(bench.wait(), SECOND / 2);
    }

    #[test]
    fn an_idle_door_waits_half_a_second_before_the_first_attempt() {
        let mut bench = Bench::greeted();
        bench.pass_lively(5 * SECOND);
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        assert_eq!(bench.wait(), SECOND / 2);
    }

    #[test]
    fn a_socket_lost_for_a_fault_of_ours_is_not_replaced_at_once() {
        for code in [1008, 1009, 4011] {
            let mut bench = Bench::joined(&["a"]);
            bench.pass_lively(5 * SECOND);
            bench.tell(Input::Wire(Wire::Closed { code: Some(code) }));
            assert_eq!(bench.wait(), SECOND / 2, "{code}");
        }
    }

    #[test]
    fn a_half_open_socket_is_noticed_within_fifteen_seconds_during_a_call() {
        let mut bench = Bench::joined(&["a"]);
        bench.pass(15 * SECOND - Duration::from_millis(1));
        assert_eq!(bench.sent("ping").len(), 2);
        assert_eq!(bench.others(), []);
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.others(), [Output::Drop, Output::Open(Ticket::Kept)]);
    }

    #[test]
    fn after_the_call_the_socket_is_asked_as_rarely_as_before() {
        let mut bench = Bench::joined(&[]);
        bench.tell(Input::Command(UplinkCommand::Leave));
        bench.ack("unsubscribe");
        bench.forget();
        bench.pass(19 * SECOND);
        assert_eq!(bench.frames, Vec::<Value>::new());
        bench.pass(SECOND);
        assert_eq!(bench.sent("ping").len(), 1);
    }

    #[test]
    fn a_press_on_a_dead_socket_opens_a_second_one_after_two_seconds() {
        let mut bench = Bench::greeted();
        bench.pass(10 * SECOND);
        bench.tell(Input::Command(UplinkCommand::Join));
        assert_eq!((bench.sent("subscribe").len(), bench.sent("ping").len()), (1, 1));
        bench.pass(2 * SECOND);
        assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Kept)]);
        bench.greet_successor(json!({"peerId":"own-2"}));
        assert_eq!(
            bench.others(),
            [Output::Drop, Output::Promote],
            "the dead one is not waited for"
        );
        assert_eq!(bench.events(), [Event::Down, up("own-2")]);
        bench.enter(&["a", "own-1"]);
        assert_eq!(bench.events(), [Event::Joined, snapshot(&["a"])]);
    }

    #[test]
    fn a_press_on_a_slow_socket_keeps_it() {
        let mut bench = Bench::greeted();
        bench.pass(10 * SECOND);
        bench.tell(Input::Command(UplinkCommand::Join));
        bench.pass(2 * SECOND);
        assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Kept)]);
        bench.enter(&[]);
        assert_eq!(bench.others(), [Output::DropSuccessor]);
        assert_eq!(bench.events(), [Event::Joined, snapshot(&[])]);
        bench.tell(Input::Successor(Wire::Text(welcome(json!({"peerId":"late"})).to_string())));
        assert_eq!(bench.events(), []);
    }

    #[test]
    fn a_press_on_a_lively_socket_opens_nothing() {
        let mut bench = Bench::greeted();
        bench.pass_lively(10 * SECOND);
        bench.tell(Input::Command(UplinkCommand::Join));
        assert_eq!(bench.sent("ping").len(), 0);
        bench.pass(3 * SECOND);
        assert_eq!(bench.others(), []);
    }

    #[test]
    fn a_dead_socket_gives_way_to_the_second_one_under_way() {
        let mut bench = Bench::greeted();
        bench.pass(10 * SECOND);
        bench.tell(Input::Command(UplinkCommand::Join));
        bench.pass(2 * SECOND);
        bench.tell(Input::Successor(Wire::Opened));
        bench.forget();
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        assert_eq!((bench.others(), bench.events()), (vec![Output::Promote], vec![Event::Down]));
        assert_eq!(bench.state(), UplinkState::Connecting);
        bench.hear(welcome(json!({"peerId":"own-2"})));
        assert_eq!(bench.events(), [up("own-2")]);
    }

    #[test]
    fn an_idle_door_changes_sockets_before_the_service_goes_away() {
        let mut bench = Bench::greeted();
        bench.hear(json!({"type":"going_away","retryAfterMs":1000}));
        bench.pass(SECOND);
        assert_eq!(bench.others(), []);
        bench.pass(SECOND);
        assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Kept)]);
        bench.greet_successor(json!({"peerId":"own-2"}));
        assert_eq!(bench.others(), [Output::Close(1000), Output::Promote]);
        assert_eq!(bench.events(), [Event::Down, up("own-2")]);
        assert_eq!(bench.state(), UplinkState::Connected);
        bench.join(&["own-1"]);
        assert_eq!(bench.events(), [Event::Joined, snapshot(&[])], "the old id is a ghost of ours");
        bench.tell(Input::Retired);
        bench.pass_lively(5 * SECOND);
        assert_eq!((bench.events(), bench.others()), (vec![], vec![]));
    }

    #[test]
    fn a_retired_socket_that_does_not_close_is_dropped() {
        let mut bench = Bench::greeted();
        bench.hear(json!({"type":"going_away"}));
        bench.pass(2 * SECOND);
        bench.greet_successor(json!({"peerId":"own-2"}));
        bench.forget();
        bench.pass(SECOND);
        assert_eq!(bench.others(), [Output::DropRetired]);
    }

    #[test]
    fn during_a_call_a_key_keeps_its_socket_to_the_end() {
        let mut bench = Bench::joined(&["a"]);
        bench.hear(json!({"type":"going_away","retryAfterMs":1000}));
        bench.pass_lively(20 * SECOND);
        assert_eq!(bench.others(), [], "a new id would end the talk");
        bench.tell(Input::Wire(Wire::Closed { code: Some(1001) }));
        bench.pass(Duration::ZERO);
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept)], "the hint is long over");
    }

    #[test]
    fn after_a_call_a_door_that_was_told_to_go_goes() {
        let mut bench = Bench::joined(&["a"]);
        bench.hear(json!({"type":"going_away","retryAfterMs":1000}));
        bench.pass_lively(20 * SECOND);
        bench.tell(Input::Command(UplinkCommand::Leave));
        bench.ack("unsubscribe");
        bench.pass(Duration::ZERO);
        assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Kept)]);
    }

    #[test]
    fn during_a_call_a_token_changes_sockets_and_enters_when_the_old_one_is_gone() {
        let mut bench = Bench::joined_with_token(&["a"]);
        bench.hear(json!({"type":"going_away","retryAfterMs":1000}));
        bench.pass_lively(2 * SECOND);
        assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Kept)]);
        bench.send_offer("a", 5);
        bench.forget();
        bench.greet_successor(json!({"peerId":"-door","expiresAt":NOW + 3600.0}));
        assert_eq!(bench.others(), [Output::Close(1000), Output::Promote]);
        assert_eq!(bench.events(), [undelivered("a", false), Event::Down, up("-door")]);
        assert_eq!(bench.sent("unsubscribe").len(), 1);
        assert_eq!(bench.sent("subscribe").len(), 0, "both sockets have one id");
        bench.tell(Input::Retired);
        bench.enter(&["a"]);
        assert_eq!(bench.events(), [Event::Joined, snapshot(&["a"])]);
    }

    #[test]
    fn a_lost_second_socket_of_a_token_does_not_enter_twice() {
        let mut bench = Bench::joined_with_token(&["a"]);
        bench.hear(json!({"type":"going_away","retryAfterMs":1000}));
        bench.pass_lively(2 * SECOND);
        bench.greet_successor(json!({"peerId":"-door","expiresAt":NOW + 3600.0}));
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        bench.reopen();
        bench.greet_with(json!({"peerId":"-door","expiresAt":NOW + 3600.0}));
        bench.enter(&["a"]);
        bench.forget();
        bench.tell(Input::Retired);
        bench.pass_lively(3 * SECOND);
        assert_eq!((bench.events(), bench.sent("subscribe")), (vec![], vec![]));
    }

    #[test]
    fn a_second_socket_that_fails_is_tried_again_and_the_first_one_stays() {
        let mut bench = Bench::greeted();
        bench.hear(json!({"type":"going_away","retryAfterMs":1000}));
        bench.pass_lively(2 * SECOND);
        bench.forget();
        bench.tell(Input::Successor(Wire::OpenFailed { http: None, reason: "no route".into() }));
        assert_eq!(bench.problem(), "no route");
        bench.pass_lively(5 * SECOND);
        assert_eq!(bench.others(), []);
        bench.pass_lively(SECOND);
        assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Kept)]);
        bench.pass_lively(10 * SECOND);
        assert_eq!(bench.others(), [Output::DropSuccessor], "not greeted in time");
        assert_eq!((bench.state(), bench.events()), (UplinkState::Connected, vec![]));
    }

    #[test]
    fn a_token_is_renewed_between_calls_before_it_expires() {
        let mut bench = Bench::with_token();
        bench.pass_lively(47 * MINUTE);
        assert_eq!(bench.others(), []);
        bench.pass_lively(MINUTE);
        assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Fresh)]);
        bench.greet_successor(
            json!({"peerId":"-door","expiresAt":NOW + 7200.0,"serverTime":NOW + 3000.0}),
        );
        assert_eq!(bench.others(), [Output::Close(1000), Output::Promote]);
        let expires = bench.session.status().expires.expect("tokens end");
        assert_eq!(expires - bench.now, 4200 * SECOND);
    }

    /// Servers of a welcome: a relay for this user.
    fn relay(user: &str) -> Value {
        let server = json!({"urls":"turn:relay.example","username":user,"credential":"c"});
        json!({"peerId":"own-1","expiresAt":null,"metadata":{"iceServers":[server]}})
    }

    #[test]
    fn credentials_of_relays_are_replaced_between_calls_before_they_end() {
        for (user, minutes) in
            [(format!("{}:door", NOW as u64 + 3600), 48), ("door".to_owned(), 192)]
        {
            let mut bench = Bench::new(true, Pass::Key);
            bench.greet_with(relay(&user));
            bench.forget();
            bench.pass_lively((minutes - 1) * MINUTE);
            assert_eq!(bench.others(), [], "{user}");
            bench.pass_lively(MINUTE);
            assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Kept)], "{user}");
            bench.greet_successor(relay("other"));
            assert_eq!(bench.others(), [Output::Close(1000), Output::Promote]);
            assert!(bench.events().contains(&Event::ServersChanged));
        }
    }

    #[test]
    fn credentials_of_relays_never_take_the_socket_from_a_call() {
        let mut bench = Bench::new(true, Pass::Key);
        bench.greet_with(relay(&format!("{}:door", NOW as u64 + 3600)));
        bench.join(&["a"]);
        bench.forget();
        bench.pass_lively(90 * MINUTE);
        assert_eq!(bench.others(), []);
        bench.tell(Input::Command(UplinkCommand::Leave));
        bench.ack("unsubscribe");
        bench.tell(Input::Tick);
        assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Kept)]);
    }

    #[test]
    fn a_press_keeps_the_socket_from_being_changed_for_the_sake_of_relays() {
        let mut bench = Bench::new(true, Pass::Key);
        bench.greet_with(relay(&format!("{}:door", NOW as u64 + 3600)));
        bench.forget();
        bench.pass_lively(48 * MINUTE);
        assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Kept)]);
        bench.tell(Input::Command(UplinkCommand::Join));
        assert_eq!(bench.others(), [Output::DropSuccessor]);
        bench.enter(&["a"]);
        bench.pass_lively(5 * MINUTE);
        assert_eq!(bench.others(), []);
    }

    #[test]
    fn relays_that_end_before_the_token_do_not_keep_it_from_being_renewed_in_a_call() {
        let mut bench = Bench::new(true, Pass::Token);
        let mut fields = relay(&format!("{}:door", NOW as u64 + 1800));
        fields["expiresAt"] = json!(NOW + 3600.0);
        bench.greet_with(fields);
        bench.join(&["a"]);
        bench.forget();
        bench.pass_lively(3580 * SECOND);
        assert_eq!(bench.others(), []);
        bench.pass_lively(11 * SECOND);
        assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Fresh)]);
    }

    #[test]
    fn without_credentials_of_relays_one_socket_lasts() {
        let mut bench = Bench::new(true, Pass::Key);
        bench.greet_with(json!({"peerId":"own-1","expiresAt":null,
            "metadata":{"iceServers":[{"urls":"stun:relay.example"}]}}));
        bench.forget();
        bench.pass_lively(300 * MINUTE);
        assert_eq!(bench.others(), []);
    }

    #[test]
    fn during_a_call_a_token_is_renewed_ten_seconds_before_its_end() {
        let mut bench = Bench::joined_with_token(&["a"]);
        bench.pass_lively(3580 * SECOND);
        assert_eq!(bench.others(), []);
        bench.pass_lively(11 * SECOND);
        assert_eq!(bench.others(), [Output::OpenSuccessor(Ticket::Fresh)]);
    }

    #[test]
    fn a_renewal_that_fails_is_tried_again_during_the_call_too() {
        let mut bench = Bench::joined_with_token(&["a"]);
        bench.pass_lively(3590 * SECOND);
        let mut opened = 0;
        for _ in 0..8 {
            if bench.others().contains(&Output::OpenSuccessor(Ticket::Fresh)) {
                opened += 1;
                let reason = "no token from /bin/x".to_owned();
                bench.tell(Input::Successor(Wire::OpenFailed { http: None, reason }));
            }
            assert!(bench.session.status().expires.is_some(), "the old one still counts");
            bench.pass_lively(SECOND);
        }
        assert_eq!((opened, bench.problem().as_str()), (2, "no token from /bin/x"));
        assert_eq!(bench.state(), UplinkState::Joined);
    }

    #[test]
    fn an_expired_token_is_fetched_anew_at_once() {
        let mut bench = Bench::with_token();
        bench.pass_lively(10 * SECOND);
        bench.tell(Input::Wire(Wire::Closed { code: Some(4002) }));
        bench.pass(Duration::ZERO);
        assert_eq!(bench.others(), [Output::Open(Ticket::Fresh)]);
        bench.tell(Input::Wire(Wire::Opened));
        bench.tell(Input::Wire(Wire::Closed { code: Some(4002) }));
        assert_eq!(bench.wait(), SECOND / 2, "the source gives old ones: no loop");
    }

    #[test]
    fn a_rejected_token_is_replaced_once_and_then_refused() {
        let mut bench = Bench::with_token();
        bench.tell(Input::Wire(Wire::Closed { code: Some(4001) }));
        bench.pass(Duration::ZERO);
        assert_eq!(bench.others(), [Output::Open(Ticket::Fresh)]);
        assert!(!matches!(bench.state(), UplinkState::Refused { .. }));
        bench.tell(Input::Wire(Wire::Opened));
        bench.tell(Input::Wire(Wire::Closed { code: Some(4001) }));
        assert_eq!(bench.wait(), 15 * MINUTE);
        let UplinkState::Refused { advice } = bench.state() else { panic!("refused is shown") };
        assert!(advice.contains("token_command"), "{advice}");
        bench.pass(15 * MINUTE);
        assert_eq!(bench.others(), [Output::Open(Ticket::Fresh)]);
    }

    #[test]
    fn a_service_that_greets_and_rejects_in_turn_is_not_asked_in_a_loop() {
        let mut bench = Bench::new(true, Pass::Token);
        let start = bench.now;
        let mut connects = 0;
        while bench.now < start + MINUTE {
            connects += 1;
            bench.greet_with(json!({"peerId":"-door"}));
            bench.tell(Input::Wire(Wire::Closed { code: Some(4001) }));
            bench.reopen();
        }
        assert!(connects < 5, "{connects} attempts in a minute");
    }

    #[test]
    fn a_source_without_a_token_is_a_failed_attempt_like_any_other() {
        let mut bench = Bench::new(true, Pass::Token);
        assert_eq!(bench.others(), [Output::Open(Ticket::Fresh)]);
        for millis in [500, 1000, 2000] {
            let reason = "no token from /bin/x: it failed".to_owned();
            bench.tell(Input::Wire(Wire::OpenFailed { http: None, reason }));
            assert_eq!(bench.wait().as_millis(), millis);
            assert!(bench.problem().contains("/bin/x"));
            bench.reopen();
        }
    }

    #[test]
    fn a_token_that_is_good_for_a_minute_is_shown_again() {
        let mut bench = Bench::with_token();
        bench.pass_lively(40 * MINUTE);
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        bench.reopen();
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept)]);
    }

    #[test]
    fn a_wrong_clock_of_the_device_is_shown_and_changes_no_plan() {
        let mut bench = Bench::new(true, Pass::Token);
        let there = NOW + 86_400.0;
        bench.greet_with(json!({"peerId":"-door","serverTime":there,"expiresAt":there + 3600.0}));
        let status = bench.session.status();
        assert_eq!(status.clock_ahead, Some(-86_400));
        assert_eq!(status.expires.map(|at| at - bench.now), Some(3600 * SECOND));
        bench.forget();
        bench.pass_lively(47 * MINUTE);
        assert_eq!(bench.others(), []);
        assert_eq!(Bench::with_token().session.status().clock_ahead, None);
    }

    #[test]
    fn every_close_code_says_whether_the_token_is_fetched_anew() {
        for (code, seconds, ticket) in [
            (None, 0.5, Ticket::Kept),
            (Some(1000), 0.5, Ticket::Kept),
            (Some(1001), 0.5, Ticket::Kept),
            (Some(1006), 0.5, Ticket::Kept),
            (Some(1008), 0.5, Ticket::Kept),
            (Some(1009), 0.5, Ticket::Kept),
            (Some(1011), 0.5, Ticket::Kept),
            (Some(4000), 0.5, Ticket::Kept),
            (Some(4001), 0.0, Ticket::Fresh),
            (Some(4002), 0.0, Ticket::Fresh),
            (Some(4003), 900.0, Ticket::Kept),
            (Some(4010), 30.0, Ticket::Kept),
            (Some(4011), 0.5, Ticket::Kept),
            (Some(4012), 900.0, Ticket::Kept),
            (Some(4020), 900.0, Ticket::Kept),
            (Some(4999), 0.5, Ticket::Kept),
        ] {
            let mut bench = Bench::with_token();
            bench.tell(Input::Wire(Wire::Closed { code }));
            assert_eq!(bench.wait(), Duration::from_secs_f64(seconds), "{code:?}");
            let text = code.map_or(String::new(), |code| code.to_string());
            assert!(!bench.problem().is_empty() && bench.problem().contains(&text), "{code:?}");
            let is_refused = matches!(bench.state(), UplinkState::Refused { .. });
            assert_eq!(is_refused, seconds > 100.0, "{code:?}");
            bench.forget();
            bench.reopen();
            assert_eq!(bench.others(), [Output::Open(ticket)], "{code:?}");
        }
    }

    #[test]
    fn other_ice_servers_are_announced_after_the_greeting() {
        let mut bench = Bench::armed();
        bench.greet_with(json!({"peerId":"o","metadata":{"iceServers":[{"urls":"stun:a"}]}}));
        assert_eq!(bench.events(), [up("o")], "the first list is no change");
        let mut again = |metadata: Value| {
            bench.tell(Input::Wire(Wire::Closed { code: None }));
            bench.reopen();
            bench.events();
            bench.greet_with(json!({"peerId":"o","metadata":metadata}));
            bench.events()
        };
        assert_eq!(again(json!({"iceServers":[{"urls":"stun:a"}]})), [up("o")]);
        assert_eq!(again(json!({})), [up("o")], "an absent list changes nothing");
        assert_eq!(again(json!({"iceServers":[5]})), [up("o")], "nor does a rejected one");
        let new = json!({"iceServers":[{"urls":"stun:a","credential":"new"}]});
        assert_eq!(again(new), [up("o"), Event::ServersChanged]);
        assert_eq!(again(json!({"iceServers":[]})), [up("o"), Event::ServersChanged]);
    }

    #[test]
    fn a_waiting_uplink_tries_at_once_when_the_network_changes() {
        let mut bench = Bench::armed();
        for _ in 0..8 {
            bench.tell(Input::Wire(Wire::OpenFailed { http: None, reason: "no route".into() }));
            bench.pass(30 * SECOND);
        }
        bench.tell(Input::Wire(Wire::OpenFailed { http: None, reason: "no route".into() }));
        bench.forget();
        bench.pass(3 * SECOND);
        bench.tell(Input::NetworkChanged);
        assert_eq!(bench.others(), [Output::Open(Ticket::Kept)]);
        bench.tell(Input::Wire(Wire::OpenFailed { http: None, reason: "no name".into() }));
        assert_eq!(bench.wait(), SECOND / 2, "the row begins anew");
    }

    #[test]
    fn a_change_of_the_network_does_not_hurry_a_refused_or_slow_uplink() {
        for code in [4001, 4010] {
            let mut bench = Bench::greeted();
            bench.tell(Input::Wire(Wire::Closed { code: Some(code) }));
            bench.forget();
            let wait = bench.wait();
            bench.tell(Input::NetworkChanged);
            assert_eq!((bench.wait(), bench.others()), (wait, vec![]), "{code}");
        }
    }

    #[test]
    fn a_live_uplink_must_answer_within_three_seconds_after_a_change_of_the_network() {
        let mut bench = Bench::greeted();
        bench.tell(Input::NetworkChanged);
        assert_eq!(bench.sent("ping").len(), 1);
        bench.pass(2 * SECOND);
        bench.hear(json!({"type":"pong"}));
        bench.pass(5 * SECOND);
        assert_eq!(bench.others(), []);
        bench.tell(Input::NetworkChanged);
        bench.pass(3 * SECOND);
        assert_eq!(bench.others(), [Output::Drop]);
    }

    #[test]
    fn an_attempt_over_a_way_that_is_gone_is_begun_anew() {
        let mut bench = Bench::armed();
        bench.forget();
        bench.tell(Input::NetworkChanged);
        assert_eq!(bench.others(), [], "it has just begun");
        bench.pass(3 * SECOND);
        bench.tell(Input::NetworkChanged);
        assert_eq!(bench.others(), [Output::Drop, Output::Open(Ticket::Kept)]);
    }

    #[test]
    fn metadata_of_peers_is_kept_while_they_are_there_and_within_bounds() {
        let mut bench = Bench::joined_with_token(&[]);
        let come = |bench: &mut Bench, id: &str, metadata: Value| {
            bench.hear(json!({"type":"presence","channel":"door","left":[],
                "joined":[{"peerId":id,"metadata":metadata}]}));
        };
        come(&mut bench, "a", json!({"name":"Ann"}));
        come(&mut bench, "-door", json!({"name":"ourselves"}));
        come(&mut bench, "big", json!({"name":"x".repeat(5000)}));
        let known = bench.session.status().peer_metadata;
        assert_eq!(*known, [("a".to_owned(), json!({"name":"Ann"}))].into());
        for number in 0..100 {
            come(&mut bench, &format!("p{number}"), json!({"n":number}));
        }
        assert_eq!(bench.session.status().peer_metadata.len(), 64);
        bench.presence(&[], &["a"]);
        assert!(!bench.session.status().peer_metadata.contains_key("a"));
        bench.tell(Input::Wire(Wire::Closed { code: None }));
        assert!(bench.session.status().peer_metadata.is_empty());
    }

    #[test]
    fn our_own_metadata_is_shown_without_the_ice_servers() {
        let mut bench = Bench::new(true, Pass::Token);
        let metadata = json!({"door":"front","iceServers":[{"urls":"turn:t","credential":"c"}]});
        bench.greet_with(json!({"peerId":"-door","metadata":metadata}));
        let status = bench.session.status();
        assert_eq!(status.own_metadata.as_deref(), Some(&json!({"door":"front"})));
        assert_eq!(status.ice_servers.len(), 1);
    }

    #[test]
    fn six_phones_at_once_stay_under_the_rate_of_the_service() {
        let mut bench = Bench::joined(&["p0", "p1", "p2", "p3", "p4", "p5"]);
        // What the call cost before this moment.
        let start = bench.now;
        let mut service = Bucket::full(FRAMES, Duration::ZERO);
        for _ in 0..4 {
            assert!(service.take(Duration::ZERO));
        }
        // Twice: the second time stands for links that are rebuilt at once.
        for round in 0..2 {
            for phone in 0..6 {
                let to = PeerId::from(format!("p{phone}").as_str());
                let mut send = |what| {
                    bench.session.handle(
                        bench.now,
                        Input::Command(UplinkCommand::Send { to: to.clone(), what }),
                    );
                };
                send(Outgoing::TrackMetadata);
                send(Outgoing::Description(Description {
                    kind: DescriptionKind::Offer,
                    sdp: format!("{round}"),
                }));
                for number in 0..20 {
                    send(Outgoing::Candidate(Candidate {
                        candidate: format!("candidate:{round}{number}"),
                        sdp_mid: None,
                        sdp_mline_index: None,
                        username_fragment: None,
                    }));
                }
                send(Outgoing::EndOfCandidates);
            }
        }
        let mut left = Vec::new();
        let mut take = |bench: &mut Bench| {
            while let Some(output) = bench.session.poll_output() {
                let Output::Frame(frame) = output else { panic!("{output:?}") };
                assert!(service.take(bench.now - start), "the service would close with 4011");
                let frame: Value = serde_json::from_str(&frame).expect("frames are JSON");
                let ack = json!({"type": "ack", "requestId": frame["requestId"]}).to_string();
                bench.session.handle(bench.now, Input::Wire(Wire::Text(ack)));
                left.push((bench.now - start, frame));
            }
        };
        take(&mut bench);
        while a_frame_waits(&bench) {
            let next = bench.session.poll_timeout().expect("frames wait");
            bench.now = next.max(bench.now);
            bench.session.handle(bench.now, Input::Tick);
            take(&mut bench);
        }
        let sends: Vec<_> = left.iter().filter(|(_, frame)| frame["type"] == "send").collect();
        assert_eq!(sends.len(), 2 * 6 * 24, "nothing is lost");
        assert_eq!(bench.session.status().counters.unsent, 0);
        for phone in 0..6 {
            let to = format!("p{phone}");
            let own: Vec<_> =
                sends.iter().filter(|(_, frame)| frame["to"] == to.as_str()).collect();
            let kinds =
                own.iter().map(|(_, frame)| frame["data"]["type"].as_str().unwrap_or("meta"));
            let kinds: Vec<_> = kinds.collect();
            for round in kinds.chunks(24) {
                assert_eq!(round[..3], ["meta", "meta", "rtc-description"]);
                assert!(round[3..].iter().all(|kind| *kind == "rtc-ice"));
            }
            let first = own.iter().map(|(at, _)| *at).nth(23).expect("a whole offer");
            assert_eq!(first, Duration::ZERO, "the first offers leave at once, to everybody");
            let (last, _) = own.last().expect("a whole offer");
            assert!(*last < 2 * SECOND, "{to} waited {last:?}");
        }
    }

    /// Whether the next deadline is that of a frame.
    fn a_frame_waits(bench: &Bench) -> bool {
        bench.session.poll_timeout().is_some_and(|next| next < bench.now + SECOND)
    }

    #[test]
    fn a_network_that_changes_all_the_time_does_not_lead_to_a_flood_of_attempts() {
        let mut bench = Bench::armed();
        for tenth in 0..600 {
            bench.tell(Input::NetworkChanged);
            if tenth % 3 == 0 {
                bench.tell(Input::Wire(Wire::OpenFailed { http: None, reason: "no".into() }));
            }
            bench.pass(SECOND / 10);
        }
        let connects = bench.session.status().counters.connects;
        assert!((15..55).contains(&connects), "{connects} in a minute");
    }

    /// What can happen to a session, as the task would tell it.
    #[derive(Debug, Clone)]
    enum Happening {
        Join,
        Leave,
        Send,
        Opened,
        Failed,
        Closed(Option<u16>),
        Welcome(f64),
        Frame(&'static str),
        Ack,
        NextOpened,
        NextFailed,
        NextClosed,
        NextWelcome(f64),
        Retired,
        Network,
        Pass(u64),
    }

    fn happenings() -> impl Strategy<Value = Vec<Happening>> {
        use Happening as H;
        let code = prop::sample::select(vec![
            None,
            Some(1000),
            Some(1001),
            Some(1008),
            Some(4001),
            Some(4002),
            Some(4010),
            Some(4011),
        ]);
        let frame = prop::sample::select(vec![
            r#"{"type":"going_away","retryAfterMs":800}"#,
            r#"{"type":"pong"}"#,
            r#"{"type":"presence","channel":"door","joined":[{"peerId":"a"}],"left":[]}"#,
            r#"{"type":"presence","channel":"door","joined":[],"left":[{"peerId":"a"}]}"#,
            "nonsense",
        ]);
        let term = prop::sample::select(vec![5.0, 30.0, 200.0, 3600.0]);
        let one = prop_oneof![
            Just(H::Join),
            Just(H::Leave),
            Just(H::Send),
            Just(H::Opened),
            Just(H::Failed),
            code.prop_map(H::Closed),
            term.clone().prop_map(H::Welcome),
            term.clone().prop_map(H::Welcome),
            frame.prop_map(H::Frame),
            Just(H::Ack),
            Just(H::NextOpened),
            Just(H::NextFailed),
            Just(H::NextClosed),
            term.prop_map(H::NextWelcome),
            Just(H::Retired),
            Just(H::Network),
            (1..40_000_u64).prop_map(H::Pass),
            (1..3_000_u64).prop_map(H::Pass),
        ];
        prop::collection::vec(one, 1..120)
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Socket {
        None,
        Opening,
        Open,
    }

    /// The task's side: which sockets there are, and whether the session asks for what it can do.
    struct Sockets {
        first: Socket,
        second: Socket,
        retired: Socket,
        is_up: bool,
    }

    impl Sockets {
        fn follow(&mut self, bench: &mut Bench) {
            for output in bench.others() {
                match output {
                    Output::Open(_) => {
                        assert_eq!(self.first, Socket::None, "one attempt at a time");
                        self.first = Socket::Opening;
                    }
                    Output::Close(_) => assert_eq!(self.first, Socket::Open),
                    Output::Drop => self.first = Socket::None,
                    Output::OpenSuccessor(_) => {
                        assert_eq!(self.second, Socket::None, "one successor at a time");
                        assert_eq!(self.first, Socket::Open, "beside a socket");
                        self.second = Socket::Opening;
                    }
                    Output::DropSuccessor => {
                        assert_ne!(self.second, Socket::None);
                        self.second = Socket::None;
                    }
                    Output::Promote => {
                        assert_ne!(self.second, Socket::None);
                        self.retired = self.first;
                        self.first = self.second;
                        self.second = Socket::None;
                    }
                    Output::DropRetired => self.retired = Socket::None,
                    Output::Frame(_) | Output::Event(_) | Output::Stopped => {}
                }
            }
            for event in bench.events() {
                match event {
                    Event::Up { .. } => assert!(!std::mem::replace(&mut self.is_up, true)),
                    Event::Down => assert!(std::mem::replace(&mut self.is_up, false)),
                    Event::Joined | Event::Snapshot(_) | Event::ServersChanged => {
                        assert!(self.is_up);
                    }
                    _ => {}
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_sockets_are_asked_for_in_order_and_time_goes_on(
            happenings in happenings(),
            token: bool,
            arm: bool,
        ) {
            let pass = if token { Pass::Token } else { Pass::Key };
            let mut bench = Bench::new(arm, pass);
            let mut sockets = Sockets {
                first: Socket::None,
                second: Socket::None,
                retired: Socket::None,
                is_up: false,
            };
            sockets.follow(&mut bench);
            for happening in happenings {
                let greeting = |term| {
                    welcome(json!({"peerId":"-door","expiresAt":NOW + term})).to_string()
                };
                match (happening, sockets.first, sockets.second, sockets.retired) {
                    (Happening::Join, ..) => bench.tell(Input::Command(UplinkCommand::Join)),
                    (Happening::Leave, ..) => bench.tell(Input::Command(UplinkCommand::Leave)),
                    (Happening::Send, ..) => bench.send_offer("a", 5),
                    (Happening::Opened, Socket::Opening, ..) => {
                        sockets.first = Socket::Open;
                        bench.tell(Input::Wire(Wire::Opened));
                    }
                    (Happening::Failed, Socket::Opening, ..) => {
                        sockets.first = Socket::None;
                        bench.tell(Input::Wire(Wire::OpenFailed { http: None, reason: "x".into() }));
                    }
                    (Happening::Closed(code), Socket::Open, ..) => {
                        sockets.first = Socket::None;
                        bench.tell(Input::Wire(Wire::Closed { code }));
                    }
                    (Happening::Welcome(term), Socket::Open, ..) => {
                        bench.tell(Input::Wire(Wire::Text(greeting(term))));
                    }
                    (Happening::Frame(text), Socket::Open, ..) => {
                        bench.tell(Input::Wire(Wire::Text(text.to_owned())));
                    }
                    (Happening::Ack, Socket::Open, ..) => {
                        let frame = bench.frames.iter().rev().find(|frame| frame["requestId"].is_string());
                        if let Some(id) = frame.map(|frame| frame["requestId"].clone()) {
                            bench.hear(json!({"type":"ack","requestId":id}));
                        }
                    }
                    (Happening::NextOpened, _, Socket::Opening, _) => {
                        sockets.second = Socket::Open;
                        bench.tell(Input::Successor(Wire::Opened));
                    }
                    (Happening::NextFailed, _, Socket::Opening, _) => {
                        sockets.second = Socket::None;
                        let reason = "x".to_owned();
                        bench.tell(Input::Successor(Wire::OpenFailed { http: None, reason }));
                    }
                    (Happening::NextClosed, _, Socket::Open, _) => {
                        sockets.second = Socket::None;
                        bench.tell(Input::Successor(Wire::Closed { code: Some(4001) }));
                    }
                    (Happening::NextWelcome(term), _, Socket::Open, _) => {
                        bench.tell(Input::Successor(Wire::Text(greeting(term))));
                    }
                    (Happening::Retired, .., Socket::Open) => {
                        sockets.retired = Socket::None;
                        bench.tell(Input::Retired);
                    }
                    (Happening::Network, ..) => bench.tell(Input::NetworkChanged),
                    (Happening::Pass(millis), ..) => {
                        let end = bench.now + Duration::from_millis(millis);
                        let mut turns = 0;
                        while let Some(next) = bench.session.poll_timeout().filter(|at| *at <= end) {
                            turns += 1;
                            assert!(turns < 500, "time stands still");
                            bench.now = next.max(bench.now);
                            bench.tell(Input::Tick);
                            sockets.follow(&mut bench);
                        }
                        bench.now = end;
                    }
                    _ => {}
                }
                sockets.follow(&mut bench);
            }
            bench.tell(Input::Stop);
            sockets.follow(&mut bench);
            bench.pass(2 * SECOND);
            assert_eq!(bench.session.poll_timeout(), None, "all is done");
        }
    }
}
