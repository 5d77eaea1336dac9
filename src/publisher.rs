//! Puts what phones get on a media server while somebody is at the door, and takes it off again (`[publish]`).
//!
//! The server is no party to the call: it rings nowhere, answers nothing, opens nothing, and what becomes of it changes
//! no call. Whether it hears the visitor follows the rule for phones (`[microphone] listen_in`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::config::PublishSettings;
use crate::intercom::{
    Health, Input, LinkCommand, LinkEvent, LinkId, OpId, Outcome, PeerId, PeerKey, UplinkId,
};
use crate::rtc::{LinkHandle, Links, Played};
use crate::service::control::{PublishState, PublishStatus};
use crate::signalling::whip::{self, Endpoint, Session, WhipError};

/// For our own addresses to be found: the answer waits for the last of them.
const GATHERING: Duration = Duration::from_secs(3);
/// For the description to be made or taken.
const OPERATION: Duration = Duration::from_secs(10);
/// From the answer to the first media.
const CONNECT: Duration = Duration::from_secs(15);
/// A server that is silent for so long is offered a new stream.
const SILENCE: Duration = Duration::from_secs(10);
/// A stream that went so long ends a row of failures.
const STEADY: Duration = Duration::from_secs(30);
/// For all that is left to do when the daemon ends.
const LAST: Duration = Duration::from_secs(2);
/// So many things that streams of before have still to do; each takes 20 s at most.
const MOST_LEFTOVERS: usize = 8;
/// Pauses between tries: the first, doubled up to the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// No server is left alone for longer, whatever it asks for.
const HOUR: Duration = Duration::from_secs(3600);

/// How much the server is to get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Show {
    /// Somebody is at the door.
    pub picture: bool,
    /// Somebody has answered.
    pub answered: bool,
}

/// The wish for the publisher, and what it does.
#[derive(Debug, Clone)]
pub struct Publisher {
    show: watch::Sender<Show>,
    state: Arc<Mutex<PublishStatus>>,
}

impl Publisher {
    /// A publisher, and the task that does its work until the publisher is dropped.
    pub fn new(
        settings: &PublishSettings,
        links: Links,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let endpoint = Endpoint {
            url: settings.whip.clone(),
            token: settings.token.clone(),
            ca_file: settings.ca_file.clone(),
        };
        let (show, wish) = watch::channel(Show::default());
        let state = PublishStatus { server: endpoint.host(), ..PublishStatus::default() };
        let state = Arc::new(Mutex::new(state));
        let work = Work {
            endpoint,
            links,
            wish,
            state: Arc::clone(&state),
            generation: 0,
            since: None,
            leftovers: JoinSet::new(),
        };
        (Self { show, state }, work.run())
    }

    /// Says what the server is to get. Never waits.
    pub fn show(&self, change: impl FnOnce(&mut Show)) {
        self.show.send_if_modified(|show| {
            let before = *show;
            change(show);
            *show != before
        });
    }

    /// What is published now.
    pub fn status(&self) -> PublishStatus {
        // Two texts and a word: valid after a panic elsewhere, too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a stream ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Nobody is at the door any more.
    Wished,
    /// The publisher is gone.
    Dropped,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    /// The server does not take it.
    #[error(transparent)]
    Server(#[from] WhipError),
    /// The connection to it is not made, or is lost.
    #[error("{0}")]
    Link(String),
}

impl PublishError {
    /// How long to wait before the next try, of so many in a row.
    fn pause(&self, failures: u32) -> Duration {
        let [first, longest] = PAUSES;
        match self {
            Self::Server(WhipError::Later { pause: Some(pause), .. }) => {
                (*pause).clamp(first, HOUR)
            }
            // What a person has to change is not changed in seconds.
            Self::Server(WhipError::Refused { .. }) => longest,
            _ => first.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(longest),
        }
    }
}

struct Work {
    endpoint: Endpoint,
    links: Links,
    wish: watch::Receiver<Show>,
    state: Arc<Mutex<PublishStatus>>,
    generation: u32,
    /// When the present stream connected.
    since: Option<Instant>,
    /// What streams of before still have to do: a link that closes, a server that is told of the end. The next stream
    /// waits for none of it.
    leftovers: JoinSet<()>,
}

impl Work {
    async fn run(mut self) {
        let mut failures = 0;
        while self.wish.wait_for(|show| show.picture).await.is_ok() {
            let outcome = self.publish().await;
            let steady = self.since.take().is_some_and(|since| since.elapsed() >= STEADY);
            let error = match outcome {
                Ok(Ended::Dropped) => break,
                Ok(Ended::Wished) => {
                    failures = 0;
                    self.tell(PublishState::Idle);
                    continue;
                }
                Err(error) => error,
            };
            failures = if steady { 1 } else { failures + 1 };
            let pause = error.pause(failures);
            if failures == 1 {
                warn!(%error, ?pause, "the media server gets no picture; trying again");
            } else {
                debug!(%error, ?pause, failures, "the media server still gets no picture");
            }
            self.tell(PublishState::Failing);
            self.told().error = Some(error.to_string());
            let over = timeout(pause, self.wish.wait_for(|show| !show.picture)).await;
            match over.map(|over| over.is_ok()) {
                Ok(true) => {
                    failures = 0;
                    self.tell(PublishState::Idle);
                }
                Ok(false) => break,
                Err(_) => {}
            }
        }
        let last = async { while self.leftovers.join_next().await.is_some() {} };
        if timeout(LAST, last).await.is_err() {
            debug!("the media server was not told of the end in time");
        }
    }

    fn told(&self) -> MutexGuard<'_, PublishStatus> {
        // Two texts and a word: valid after a panic elsewhere, too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What went wrong stays until something goes well.
    fn tell(&self, state: PublishState) {
        let mut told = self.told();
        told.state = state;
        if state == PublishState::Connected {
            told.error = None;
        }
    }

    /// One stream, from its offer to its end.
    async fn publish(&mut self) -> Result<Ended, PublishError> {
        self.tell(PublishState::Connecting);
        while self.leftovers.try_join_next().is_some() {}
        if self.leftovers.len() >= MOST_LEFTOVERS {
            // Each ends by itself; so many at once are a server that answers nothing.
            let _ = timeout(OPERATION, self.leftovers.join_next()).await;
        }
        self.generation += 1;
        let peer = PeerKey { uplink: UplinkId::Lan, id: PeerId::from("media-server") };
        let id = LinkId { peer, generation: self.generation };
        // 256: as many as a link can report between two turns.
        let (inbox, events) = mpsc::channel(256);
        let (link, task) = self.links.clone().for_an_audience(inbox).open(id, Vec::new());
        // It ends when its handle is gone.
        self.leftovers.spawn(task);
        let mut stream = Stream { link, events };
        let mut wish = self.wish.clone();
        let offer = tokio::select! {
            offer = stream.offer() => offer?,
            over = wish.wait_for(|show| !show.picture) => return Ok(ended(over.is_ok())),
        };
        let endpoint = self.endpoint.clone();
        let mut asking = JoinSet::new();
        asking.spawn(async move { endpoint.publish(&offer).await });
        let session = tokio::select! {
            answered = asking.join_next() => match answered {
                Some(Ok(session)) => session?,
                _ => return Err(PublishError::Link("asking the server broke off".to_owned())),
            },
            over = wish.wait_for(|show| !show.picture) => {
                // The server may take it all the same, and is then told that it is over.
                let endpoint = self.endpoint.clone();
                self.leftovers.spawn(async move {
                    if let Some(Ok(Ok(session))) = asking.join_next().await {
                        end(&endpoint, session).await;
                    }
                });
                return Ok(ended(over.is_ok()));
            }
        };
        let outcome = self.flow(&mut stream, &session, wish).await;
        // Not a packet more once it is over, however long the server takes to hear of it.
        drop(stream);
        let endpoint = self.endpoint.clone();
        self.leftovers.spawn(async move { end(&endpoint, session).await });
        outcome
    }

    /// The media of a stream that the server has taken.
    async fn flow(
        &mut self,
        stream: &mut Stream,
        session: &Session,
        mut wish: watch::Receiver<Show>,
    ) -> Result<Ended, PublishError> {
        let connected = timeout(CONNECT, stream.connect(session));
        tokio::select! {
            connected = connected => connected.unwrap_or_else(|_| Err(PublishError::Link(
                "media do not reach the server; is UDP to it let through?".to_owned(),
            )))?,
            over = wish.wait_for(|show| !show.picture) => return Ok(ended(over.is_ok())),
        }
        if stream.link.reading().video_codec.is_none() {
            return Err(PublishError::Server(WhipError::Refused {
                host: self.endpoint.host(),
                why: "it takes no H.264".to_owned(),
                remedy: "allow H.264 there; it is all that this door sends",
            }));
        }
        info!(server = self.endpoint.host(), "the media server has the picture");
        self.since = Some(Instant::now());
        self.tell(PublishState::Connected);
        stream.flow(&mut wish).await
    }
}

async fn end(endpoint: &Endpoint, session: Session) {
    if let Err(error) = endpoint.end(session).await {
        debug!(%error, "the media server was not told of the end");
    }
}

fn ended(wished: bool) -> Ended {
    if wished { Ended::Wished } else { Ended::Dropped }
}

/// A link to the server, with what it reports.
struct Stream {
    link: LinkHandle,
    events: mpsc::Receiver<Input>,
}

impl Stream {
    async fn next(&mut self) -> Result<LinkEvent, PublishError> {
        match self.events.recv().await {
            Some(Input::Link(_, LinkEvent::Closed)) | None => {
                Err(PublishError::Link("the connection to the server ended".to_owned()))
            }
            Some(Input::Link(_, event)) => Ok(event),
            Some(_) => Ok(LinkEvent::EndOfCandidates),
        }
    }

    fn order(&self, command: LinkCommand) -> Result<(), PublishError> {
        let stuck = |_| PublishError::Link("the link takes no orders".to_owned());
        self.link.order(command).map_err(stuck)
    }

    /// An offer with all our addresses in it.
    async fn offer(&mut self) -> Result<String, PublishError> {
        self.order(LinkCommand::MakeOffer { op: OpId(1), restart: false })?;
        let slow = || PublishError::Link("no offer could be made in time".to_owned());
        let mut candidates = Vec::new();
        let sdp = timeout(OPERATION, async {
            loop {
                match self.next().await? {
                    LinkEvent::Done { outcome: Outcome::Made(made), .. } => return Ok(made.sdp),
                    LinkEvent::Done { outcome: Outcome::Failed(why), .. } => {
                        return Err(PublishError::Link(why));
                    }
                    LinkEvent::Candidate(candidate) => candidates.push(candidate.candidate),
                    _ => {}
                }
            }
        });
        let sdp = sdp.await.map_err(|_| slow())??;
        // What a slow STUN server would add is left out.
        let gathering = timeout(GATHERING, async {
            loop {
                match self.next().await? {
                    LinkEvent::EndOfCandidates => return Ok::<_, PublishError>(()),
                    LinkEvent::Candidate(candidate) => candidates.push(candidate.candidate),
                    _ => {}
                }
            }
        });
        if let Ok(gathered) = gathering.await {
            gathered?;
        }
        Ok(whip::offer(&sdp, candidates.iter().map(String::as_str)))
    }

    async fn connect(&mut self, session: &Session) -> Result<(), PublishError> {
        self.order(LinkCommand::TakeAnswer { op: OpId(2), sdp: session.answer.clone() })?;
        loop {
            match self.next().await? {
                LinkEvent::Done { outcome: Outcome::Failed(why), .. } => {
                    return Err(PublishError::Link(format!(
                        "the server's answer is of no use: {why}"
                    )));
                }
                LinkEvent::RemoteMedia { audio, video } if audio || video => {
                    let words = "the server wants to send, and nothing is played of it";
                    return Err(PublishError::Link(words.to_owned()));
                }
                LinkEvent::Health(Health::Connected) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Until nobody is at the door any more, or the server is lost.
    async fn flow(&mut self, wish: &mut watch::Receiver<Show>) -> Result<Ended, PublishError> {
        let lost = || PublishError::Link("the server was lost".to_owned());
        let mut silent_since: Option<Instant> = None;
        loop {
            // The server has no voice; this says whether it hears the visitor where only who answered does.
            self.link.play(Played { picture: false, voice: wish.borrow_and_update().answered });
            let patience = silent_since.map_or_else(|| Instant::now() + SILENCE, |at| at + SILENCE);
            tokio::select! {
                changed = wish.changed() => match changed {
                    Ok(()) if wish.borrow().picture => {}
                    changed => return Ok(ended(changed.is_ok())),
                },
                event = self.next() => match event? {
                    LinkEvent::Health(Health::Failed) => return Err(lost()),
                    LinkEvent::Health(Health::Connected) => silent_since = None,
                    LinkEvent::Health(_) => {
                        silent_since.get_or_insert_with(Instant::now);
                    }
                    _ => {}
                },
                () = sleep_until(patience), if silent_since.is_some() => return Err(lost()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_become_rarer_and_keep_to_what_the_server_asks_for() {
        let later = |pause| {
            let (host, why) = ("media.example".to_owned(), "busy".to_owned());
            PublishError::from(WhipError::Later { host, why, pause })
        };
        let pauses: Vec<u64> =
            [1, 2, 3, 6, 500].map(|failures| later(None).pause(failures).as_secs()).to_vec();
        assert_eq!(pauses, [1, 2, 4, 30, 30]);
        assert_eq!(later(Some(Duration::from_secs(90))).pause(1).as_secs(), 90);
        assert_eq!(later(Some(Duration::from_secs(90_000))).pause(1), HOUR);
        let (host, why) = ("media.example".to_owned(), "no".to_owned());
        let refused = PublishError::from(WhipError::Refused { host, why, remedy: "x" });
        assert_eq!(refused.pause(1).as_secs(), 30);
    }
}
