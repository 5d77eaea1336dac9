//! The door at an MQTT broker: its states, its presses, its pictures, and, if the owner wants it, one thing
//! it can be asked for.
//!
//! Each connection begins anew: the broker keeps no commands for a door that is away, so that none opens it
//! when it comes back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event as Occurrence, EventLoop, LastWill,
    MqttOptions, NetworkOptions, Outgoing, Packet, Publish, QoS, SubscribeFilter,
    SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Wish;
use super::backlog::Item;
use super::discovery;
use super::error::{HookError, chain};
use super::event::What;
use super::ledger::Ledger;
use super::mirror::{Message, Mirror, Topics};
use super::outbox::{Closing, Outbox, Parcel};
use super::picture;
use super::retry;
use super::trust;
use crate::config::MqttHook;

/// How often the broker is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The same where it may ask for the door to be opened. A connection on which two such questions in a row get no answer
/// is given up, and what was on its way to the door with it. Only what [`CONNECT`] allows a packet of ours to take can
/// come on top.
const KEEP_ALIVE_TO_OPEN: Duration = Duration::from_secs(5);
/// How long a connection may take, in seconds.
const CONNECT: u64 = 10;
/// A connection that held so long makes the next pause a short one.
const STEADY: Duration = Duration::from_secs(60);
/// Unconfirmed messages from which on events wait in the mailbox.
const WINDOW: usize = 16;
/// Messages that are handed over at once at the most: all entities and states, and all held events.
const HANDED_OVER: usize = 128;
/// Events kept while the broker is away.
const HELD: usize = 16;
/// Largest packet from and to the broker, in bytes.
const LARGEST_IN: usize = 64 * 1024;
const LARGEST_OUT: usize = picture::LARGEST as usize + 4096;

type Polled = (EventLoop, Result<Occurrence, ConnectionError>);

/// Keeps the door at the broker until the hooks are closed.
pub(super) async fn run(
    hook: MqttHook,
    door: Arc<str>,
    outbox: Arc<Outbox>,
    wish: mpsc::Sender<Wish>,
    mut closing: Closing,
) {
    let topics = Topics::new(&hook.base, &hook.node);
    let mut station = Station {
        mirror: Mirror::new(topics.clone()),
        held: VecDeque::new(),
        hook,
        topics,
        outbox,
        wish,
        door,
    };
    let mut failures = 0;
    loop {
        let began = Instant::now();
        match station.connect(&mut closing).await {
            Ended::Closed => return,
            Ended::Lost(error) => station.outbox.trouble(&error),
        }
        if began.elapsed() > STEADY {
            failures = 0;
        }
        let pause = retry::reconnect(failures, luck());
        failures = failures.saturating_add(1);
        if station.rest(Instant::now() + pause, &mut closing).await {
            return;
        }
    }
}

/// How a connection ended.
enum Ended {
    /// The hooks are being closed, and the broker was told.
    Closed,
    Lost(HookError),
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Knocking,
    In,
    /// The broker is told that the door goes.
    Leaving,
}

/// What outlives a connection.
struct Station {
    hook: MqttHook,
    topics: Topics,
    mirror: Mirror,
    /// Events the broker has not confirmed or never saw.
    held: VecDeque<Item<Parcel>>,
    outbox: Arc<Outbox>,
    wish: mpsc::Sender<Wish>,
    /// The channel, as a name for people.
    door: Arc<str>,
}

impl Station {
    /// Waits while the broker is away. Whether the hooks are being closed.
    async fn rest(&mut self, until: Instant, closing: &mut Closing) -> bool {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return false,
                next = self.outbox.next(closing) => match next {
                    Some(item) => self.learn_and_hold(item),
                    None => return true,
                },
            }
        }
    }

    fn learn_and_hold(&mut self, item: Item<Parcel>) {
        self.mirror.learn(&item.what.told);
        self.held.push_back(item);
        self.shorten();
    }

    fn shorten(&mut self) {
        while self.held.len() > HELD {
            self.held.pop_front();
            self.outbox.dropped();
        }
        self.outbox.holds(self.held.len());
    }

    /// One connection, from the first packet to the last.
    async fn connect(&mut self, closing: &mut Closing) -> Ended {
        let options = match self.options().await {
            Ok(options) => options,
            Err(error) => return Ended::Lost(error),
        };
        let (client, mut network) = AsyncClient::new(options, HANDED_OVER);
        network.set_network_options(network_options());
        let mut line = Line { client, ledger: Ledger::new(), phase: Phase::Knocking };
        let ended = self.converse(&mut line, network, closing).await;
        let mut lost: VecDeque<_> = line.ledger.lost().collect();
        lost.append(&mut self.held);
        self.held = lost;
        self.shorten();
        ended
    }

    async fn converse(
        &mut self,
        line: &mut Line,
        network: EventLoop,
        closing: &mut Closing,
    ) -> Ended {
        // Never dropped half-way: the crate would lose the packet it is writing.
        let mut polling = Box::pin(poll(network));
        let mut is_open = true;
        loop {
            let has_room = line.ledger.len() < WINDOW;
            tokio::select! {
                (network, polled) = &mut polling => {
                    match polled {
                        Ok(Occurrence::Outgoing(Outgoing::Disconnect)) => return Ended::Closed,
                        Ok(occurrence) => {
                            if let Err(error) = self.take(line, occurrence).await {
                                return Ended::Lost(error);
                            }
                        }
                        Err(_) if line.phase == Phase::Leaving => return Ended::Closed,
                        Err(error) => return Ended::Lost(words(&error)),
                    }
                    polling = Box::pin(poll(network));
                }
                next = self.outbox.next(closing), if is_open && has_room => match next {
                    Some(item) if line.phase == Phase::In => {
                        self.mirror.learn(&item.what.told);
                        self.publish_event(line, item).await;
                    }
                    Some(item) => self.learn_and_hold(item),
                    None => is_open = false,
                },
            }
            if !is_open {
                match line.phase {
                    Phase::Knocking => return Ended::Closed,
                    Phase::In => {
                        // A broker that is told goodbye does not tell the will.
                        let gone = Message::state(self.topics.availability(), "offline");
                        line.publish(vec![gone]);
                        line.phase = Phase::Leaving;
                    }
                    Phase::Leaving if line.ledger.len() == 0 => {
                        // Full only if it is broken, which ends it as well.
                        let _ = line.client.try_disconnect();
                    }
                    Phase::Leaving => {}
                }
            }
        }
    }

    async fn take(&mut self, line: &mut Line, occurrence: Occurrence) -> Result<(), HookError> {
        match occurrence {
            Occurrence::Outgoing(Outgoing::Publish(number)) => line.ledger.sent(number),
            Occurrence::Incoming(Packet::ConnAck(_)) => {
                info!("{} lets the door in", self.outbox.name());
                line.phase = Phase::In;
                self.outbox.reached();
                self.greet(line);
                for item in std::mem::take(&mut self.held) {
                    self.publish_event(line, item).await;
                }
                self.shorten();
            }
            Occurrence::Incoming(Packet::PubAck(ack)) => {
                if let Some(item) = line.ledger.arrived(ack.pkid) {
                    self.outbox.sent(&item.what.told);
                }
            }
            Occurrence::Incoming(Packet::SubAck(ack))
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) =>
            {
                // Telling goes on; only being asked does not work.
                self.outbox.trouble(&HookError::Deaf);
            }
            Occurrence::Incoming(Packet::Publish(publish)) => self.hear(line, &publish),
            Occurrence::Incoming(Packet::Disconnect) => {
                return Err(HookError::Unreachable { why: "the broker has hung up".to_owned() });
            }
            _ => {}
        }
        Ok(())
    }

    fn greet(&mut self, line: &mut Line) {
        let mut wanted = vec![self.birth()];
        if self.hook.open.is_some() {
            wanted.push(self.topics.open());
        }
        let filters = wanted.into_iter().map(|topic| SubscribeFilter::new(topic, QoS::AtLeastOnce));
        if line.client.try_subscribe_many(filters).is_err() {
            self.outbox.trouble(&HookError::Deaf);
        }
        self.announce(line);
    }

    fn announce(&self, line: &mut Line) {
        let mut messages = discovery::messages(&self.hook, &self.topics, &self.door);
        messages.extend(self.mirror.states());
        line.publish(messages);
    }

    /// Where Home Assistant says that it has started.
    fn birth(&self) -> String {
        format!("{}/status", self.hook.discovery_prefix)
    }

    async fn publish_event(&mut self, line: &mut Line, item: Item<Parcel>) {
        let told = item.what.told.clone();
        let jpeg = match told.what() {
            What::Picture { path } => match picture::read(path).await {
                Ok(jpeg) => Some(jpeg),
                Err(error) => {
                    self.outbox.trouble(&error);
                    None
                }
            },
            _ => None,
        };
        let age = Instant::now().into_std().saturating_duration_since(item.told);
        let messages = self.mirror.messages(&told, age, jpeg);
        if messages.is_empty() {
            return self.outbox.gave_up(&told);
        }
        if let Some(item) = line.publish_for(item, messages) {
            self.held.push_back(item);
            self.shorten();
        }
    }

    fn hear(&self, line: &mut Line, publish: &Publish) {
        if publish.topic == self.birth() {
            if publish.payload == "online" {
                info!("Home Assistant has started and is told of the door");
                self.announce(line);
            }
            return;
        }
        if publish.topic != self.topics.open() {
            return;
        }
        let Some(payload) = &self.hook.open else { return };
        let refusal = if publish.retain {
            "the broker had kept it, from whenever that was; send it without `retain`"
        } else if publish.dup {
            "it came twice, and may have been carried out"
        } else if publish.payload != payload.expose().as_bytes() {
            "it does not say what open_payload says"
        } else if self.wish.try_send(Wish::Open { by: "mqtt" }).is_err() {
            "the door has not dealt with those before it"
        } else {
            return info!("{} asks to open the door", self.outbox.name());
        };
        warn!("{} asked to open the door, which is ignored: {refusal}", self.outbox.name());
    }

    async fn options(&self) -> Result<MqttOptions, HookError> {
        let hook = &self.hook;
        let id = format!("intercomd-{}", hook.node);
        let mut options = MqttOptions::new(id, hook.host.as_str(), hook.port);
        let offline = LastWill::new(self.topics.availability(), "offline", QoS::AtLeastOnce, true);
        options
            .set_keep_alive(if hook.open.is_some() { KEEP_ALIVE_TO_OPEN } else { KEEP_ALIVE })
            .set_clean_session(true)
            .set_max_packet_size(LARGEST_IN, LARGEST_OUT)
            .set_last_will(offline);
        if let Some(username) = &hook.username {
            let password = hook.password.as_ref().map_or("", |password| password.expose());
            options.set_credentials(username.as_str(), password);
        }
        if hook.tls {
            let config = trust::config(hook.ca_file.as_deref()).await?;
            let tls = TlsConfiguration::Rustls(Arc::new(config));
            options.set_transport(Transport::tls_with_config(tls));
        }
        Ok(options)
    }
}

/// One connection.
struct Line {
    client: AsyncClient,
    ledger: Ledger<Item<Parcel>>,
    phase: Phase,
}

impl Line {
    fn publish(&mut self, messages: Vec<Message>) {
        let count = self.hand_over(messages);
        self.ledger.hand_over(count);
    }

    /// Gives the event back if there was no room for any of it.
    fn publish_for(&mut self, item: Item<Parcel>, messages: Vec<Message>) -> Option<Item<Parcel>> {
        match self.hand_over(messages) {
            0 => return Some(item),
            count => self.ledger.hand_over_for(item, count),
        }
        None
    }

    /// How many there was room for.
    fn hand_over(&mut self, messages: Vec<Message>) -> usize {
        let mut count = 0;
        for Message { topic, payload, retain } in messages {
            let handed = self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload);
            match handed {
                Ok(()) => count += 1,
                Err(error) => warn!("a message to the broker is left out: {error}"),
            }
        }
        count
    }
}

async fn poll(mut network: EventLoop) -> Polled {
    let polled = network.poll().await;
    (network, polled)
}

fn network_options() -> NetworkOptions {
    let mut options = NetworkOptions::new();
    options.set_connection_timeout(CONNECT);
    options.set_tcp_nodelay(true);
    options
}

fn words(error: &ConnectionError) -> HookError {
    match error {
        ConnectionError::ConnectionRefused(
            code @ (ConnectReturnCode::BadUserNamePassword
            | ConnectReturnCode::NotAuthorized
            | ConnectReturnCode::BadClientId),
        ) => HookError::NotLetIn { why: format!("{code:?}") },
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            HookError::TimedOut { after: Duration::from_secs(CONNECT) }
        }
        other => HookError::Unreachable { why: chain(other) },
    }
}

/// A random number from 0 to 1.
fn luck() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}
