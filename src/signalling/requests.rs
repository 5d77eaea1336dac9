//! What we asked of the signalling side and have no answer to yet, and how fast we ask
//! (protocol.md sections 2.3 and 2.7).
//!
//! Pure. Which answer means what is the session's business.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::intercom::PeerId;

/// Most requests without an answer. Beyond it further ones are refused: an end that answers none of 512
/// is as good as gone, and the pulse will say so.
const MAX_PENDING: usize = 512;
/// Most candidates kept behind a description: more than any door has.
const MAX_BEHIND: usize = 64;
/// Most frames waiting for their turn; beyond it further ones are refused.
const MAX_WAITING: usize = 512;

/// One request without an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Subscribe,
    Unsubscribe,
    /// A description; the frame is kept until it has been repeated once.
    Description {
        to: PeerId,
        frame: Option<String>,
    },
    /// Anything else sent to a peer; nobody waits for it.
    Other {
        to: PeerId,
    },
}

/// What became due.
#[derive(Debug, PartialEq)]
pub(super) enum Due {
    /// No answer came in time.
    Expired(Request),
    /// Send this frame once more.
    Repeat(String),
}

enum Wait {
    Answer(Instant),
    Repeat(Instant),
}

struct Pending {
    request: Request,
    wait: Wait,
}

/// The open requests of one socket.
pub(super) struct Requests {
    prefix: String,
    count: u64,
    timeout: Duration,
    unheard: Duration,
    pending: BTreeMap<String, Pending>,
    /// Candidates sent after a description of which nothing is heard yet: a peer without the description
    /// has no use for them, and forgets them.
    behind: BTreeMap<PeerId, Vec<String>>,
}

impl Requests {
    /// `prefix` makes the ids unique across restarts, `timeout` is how long an answer may take, `unheard` how
    /// long that to a description may take before it is repeated.
    pub(super) fn new(prefix: String, timeout: Duration, unheard: Duration) -> Self {
        Self {
            prefix,
            count: 0,
            timeout,
            unheard,
            pending: BTreeMap::new(),
            behind: BTreeMap::new(),
        }
    }

    /// An id nobody used before.
    pub(super) fn next_id(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.prefix, self.count)
    }

    /// Whether one more request may be made.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < MAX_PENDING
    }

    pub(super) fn add(&mut self, now: Instant, id: String, request: Request) {
        let wait = match &request {
            // A doubled description does no harm, a lost one sticks to the SDK for good (protocol.md
            // section 5.7): no answer soon is reason enough to say it again.
            Request::Description { to, frame: Some(_) } => {
                self.supersede(to);
                self.behind.insert(to.clone(), Vec::new());
                Wait::Repeat(now + self.unheard)
            }
            _ => Wait::Answer(now + self.timeout),
        };
        self.pending.insert(id, Pending { request, wait });
    }

    /// A candidate goes to this peer: it is repeated with the description before it, should that be repeated.
    pub(super) fn follow(&mut self, peer: &PeerId, frame: &str) {
        if let Some(behind) = self.behind.get_mut(peer)
            && behind.len() < MAX_BEHIND
        {
            behind.push(frame.to_owned());
        }
    }

    /// A newer description goes to this peer: what becomes of the older ones matters no more.
    fn supersede(&mut self, peer: &PeerId) {
        for Pending { request, .. } in self.pending.values_mut() {
            if let Request::Description { to, .. } = request
                && to == peer
            {
                *request = Request::Other { to: to.clone() };
            }
        }
    }

    /// The request an answer belongs to; it is open no more.
    pub(super) fn take(&mut self, id: &str) -> Option<Request> {
        self.pending.remove(id).map(|pending| pending.request)
    }

    /// A description to this peer needs no repetition: nor do its candidates.
    pub(super) fn settled(&mut self, peer: &PeerId) {
        self.behind.remove(peer);
    }

    /// Keeps a description for one more try at `at`, under the same id.
    pub(super) fn repeat_at(&mut self, at: Instant, id: String, to: PeerId, frame: String) {
        let request = Request::Description { to, frame: Some(frame) };
        self.pending.insert(id, Pending { request, wait: Wait::Repeat(at) });
    }

    /// Forgets everything and tells whose descriptions were still open.
    pub(super) fn abandon(&mut self) -> Vec<PeerId> {
        self.behind.clear();
        let all = std::mem::take(&mut self.pending).into_values();
        all.filter_map(|pending| match pending.request {
            Request::Description { to, .. } => Some(to),
            Request::Subscribe | Request::Unsubscribe | Request::Other { .. } => None,
        })
        .collect()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let when = |pending: &Pending| match pending.wait {
            Wait::Answer(at) | Wait::Repeat(at) => at,
        };
        self.pending.values().map(when).min()
    }

    /// Everything that is due at `now`.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Due> {
        let is_due = |(id, pending): (&String, &Pending)| match pending.wait {
            Wait::Answer(at) | Wait::Repeat(at) => (at <= now).then(|| id.clone()),
        };
        let ids: Vec<String> = self.pending.iter().filter_map(is_due).collect();
        let mut due = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(Pending { request, wait }) = self.pending.remove(&id) else {
                continue;
            };
            match (wait, request) {
                (Wait::Repeat(_), Request::Description { to, frame: Some(frame) }) => {
                    let behind = self.behind.remove(&to).unwrap_or_default();
                    self.add(now, id, Request::Description { to, frame: None });
                    due.push(Due::Repeat(frame));
                    due.extend(behind.into_iter().map(Due::Repeat));
                }
                (_, request) => due.push(Due::Expired(request)),
            }
        }
        due
    }
}

/// Keeps our frames under the service's rate: 100 per second after a burst of 200 (protocol.md section 2.7);
/// a fifth of both is left unused, because it is not known which frames count.
pub(super) struct Throttle {
    tokens: f64,
    filled: Instant,
    waiting: VecDeque<String>,
}

impl Throttle {
    const BURST: f64 = 160.0;
    const PER_SECOND: f64 = 80.0;

    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: Self::BURST, filled: now, waiting: VecDeque::new() }
    }

    /// Takes a frame, unless too many are waiting already.
    pub(super) fn push(&mut self, frame: String) -> bool {
        let has_room = self.waiting.len() < MAX_WAITING;
        if has_room {
            self.waiting.push_back(frame);
        }
        has_room
    }

    /// The next frame whose turn has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<String> {
        let fresh = now.saturating_duration_since(self.filled).as_secs_f64() * Self::PER_SECOND;
        self.tokens = Self::BURST.min(self.tokens + fresh);
        self.filled = now;
        if self.tokens < 1.0 {
            return None;
        }
        let frame = self.waiting.pop_front()?;
        self.tokens -= 1.0;
        Some(frame)
    }

    /// When the next frame's turn comes; `None` when none waits.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let missing = (1.0 - self.tokens).max(0.0) / Self::PER_SECOND;
        // A millisecond more, so that rounding never wakes us a hair too early.
        let wait = Duration::from_secs_f64(missing) + Duration::from_millis(1);
        (!self.waiting.is_empty()).then(|| self.filled + wait)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(15);
    const UNHEARD: Duration = Duration::from_secs(2);

    #[test]
    fn an_answer_finds_its_request_once() {
        let mut requests = Requests::new("r".into(), TIMEOUT, UNHEARD);
        let (first, second) = (requests.next_id(), requests.next_id());
        assert_ne!(first, second);
        requests.add(Clock::now(), first.clone(), Request::Subscribe);
        assert_eq!(requests.take(&second), None);
        assert_eq!(requests.take(&first), Some(Request::Subscribe));
        assert_eq!(requests.take(&first), None);
        assert_eq!(requests.deadline(), None);
    }

    #[test]
    fn a_request_without_an_answer_expires() {
        let now = Clock::now();
        let mut requests = Requests::new("r".into(), TIMEOUT, UNHEARD);
        let id = requests.next_id();
        requests.add(now, id, Request::Unsubscribe);
        assert_eq!(requests.due(now), []);
        let late = requests.deadline().expect("one request is open");
        assert_eq!(late, now + TIMEOUT);
        assert_eq!(requests.due(late), [Due::Expired(Request::Unsubscribe)]);
    }

    #[test]
    fn a_description_is_repeated_under_its_id_and_then_waits_again() {
        let now = Clock::now();
        let mut requests = Requests::new("r".into(), TIMEOUT, UNHEARD);
        let (id, to) = (requests.next_id(), PeerId::from("p"));
        let at = now + Duration::from_millis(500);
        requests.repeat_at(at, id.clone(), to.clone(), "frame".into());
        assert_eq!(requests.due(at), [Due::Repeat("frame".into())]);
        assert_eq!(requests.deadline(), Some(at + TIMEOUT));
        assert_eq!(requests.take(&id), Some(Request::Description { to, frame: None }));
    }

    #[test]
    fn a_description_nothing_is_heard_of_is_repeated_once_before_it_is_given_up() {
        let now = Clock::now();
        let mut requests = Requests::new("r".into(), TIMEOUT, UNHEARD);
        let (id, to) = (requests.next_id(), PeerId::from("p"));
        let frame = Some("frame".to_owned());
        requests.add(now, id, Request::Description { to: to.clone(), frame });
        assert_eq!(requests.due(now + UNHEARD), [Due::Repeat("frame".into())]);
        let lost = Request::Description { to, frame: None };
        assert_eq!(requests.due(now + UNHEARD + TIMEOUT), [Due::Expired(lost)]);
    }

    #[test]
    fn a_repeated_description_brings_its_candidates_along_and_one_that_was_heard_does_not() {
        let now = Clock::now();
        let mut requests = Requests::new("r".into(), TIMEOUT, UNHEARD);
        let to = PeerId::from("p");
        requests.follow(&to, "too early");
        let offer =
            |frame: &str| Request::Description { to: to.clone(), frame: Some(frame.into()) };
        let heard = requests.next_id();
        requests.add(now, heard.clone(), offer("heard"));
        requests.follow(&to, "of the one that was heard");
        assert!(requests.take(&heard).is_some());
        requests.settled(&to);
        requests.follow(&to, "nobody waits");
        let lost = requests.next_id();
        requests.add(now, lost, offer("lost"));
        requests.follow(&to, "first");
        requests.follow(&PeerId::from("q"), "somebody else's");
        requests.follow(&to, "second");
        let repeat = |frame: &str| Due::Repeat(frame.into());
        assert_eq!(requests.due(now + UNHEARD), ["lost", "first", "second"].map(repeat));
        assert_eq!(requests.due(now + 2 * UNHEARD), []);
    }

    #[test]
    fn a_newer_description_to_the_same_peer_makes_the_older_one_idle() {
        let now = Clock::now();
        let mut requests = Requests::new("r".into(), TIMEOUT, UNHEARD);
        for frame in ["old", "new"] {
            let (id, to) = (requests.next_id(), PeerId::from("p"));
            requests.add(now, id, Request::Description { to, frame: Some(frame.to_owned()) });
        }
        let old = Request::Other { to: PeerId::from("p") };
        let due = requests.due(now + UNHEARD);
        assert_eq!(due, [Due::Expired(old), Due::Repeat("new".into())]);
    }

    #[test]
    fn abandoning_names_the_open_descriptions_only() {
        let now = Clock::now();
        let mut requests = Requests::new("r".into(), TIMEOUT, UNHEARD);
        let p = PeerId::from("p");
        for request in [
            Request::Subscribe,
            Request::Description { to: p.clone(), frame: None },
            Request::Other { to: PeerId::from("q") },
        ] {
            let id = requests.next_id();
            requests.add(now, id, request);
        }
        assert_eq!(requests.abandon(), [p]);
        assert_eq!(requests.deadline(), None);
    }

    #[test]
    fn frames_beyond_the_burst_leave_at_the_allowed_rate_and_in_order() {
        let start = Clock::now();
        let mut throttle = Throttle::new(start);
        for number in 0..400 {
            assert!(throttle.push(number.to_string()));
        }
        let mut now = start;
        let mut sent = Vec::new();
        loop {
            while let Some(frame) = throttle.pop(now) {
                sent.push((now, frame));
            }
            match throttle.deadline() {
                Some(next) => now = next,
                None => break,
            }
        }
        let at_once = sent.iter().filter(|(at, _)| *at == start).count();
        assert_eq!(at_once, 160);
        assert!(now > start + Duration::from_secs(2), "240 frames at 80 a second");
        assert!(sent.iter().enumerate().all(|(number, (_, frame))| *frame == number.to_string()));
    }

    #[test]
    fn a_full_queue_refuses() {
        let mut throttle = Throttle::new(Clock::now());
        let taken = (0..1000).filter(|_| throttle.push(String::new())).count();
        assert_eq!(taken, MAX_WAITING);
    }
}
