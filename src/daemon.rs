//! The composition root and the one loop: inputs to the heart, its commands to the hands.
//!
//! Builds the house in order, owns every task, and keeps no policy of its own. Tasks may wait for
//! this loop; it never waits for them.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, warn};

use crate::clerk::Clerk;
use crate::config::{Settings, Warm};
use crate::errands;
use crate::hands::{Hands, Rooms, ice_server};
use crate::hardware::{ButtonEvent, Panel};
use crate::herald::Herald;
use crate::hooks::{Hooks, Wish};
use crate::household::Change;
use crate::intercom::{
    CallId, CallState, Input, Intercom, LinkEvent, Opener, Part, Refusal, ReleaseRules,
    SHORTEST_PULSE, UplinkEvent, UplinkId,
};
use crate::lines;
use crate::media::{self, Capture, Playback};
use crate::publisher::Publisher;
use crate::rtc::{Ears, Links, Network, Picture};
use crate::service::control::Reply;
use crate::service::happenings::Happening;
use crate::service::notify::{self, Progress, Watchdog};
use crate::service::server::{Ask, ControlRequest, Events, REQUESTS, Server};
use crate::service::tasks::{Tasks, Weight};
use crate::signalling::lan::Lan;

/// Inputs that may wait for the heart; senders wait when it is full.
const INBOX: usize = 256;
/// How long the goodbye of a call may take at the end of the daemon.
const GOODBYE: Duration = Duration::from_secs(3);
/// How long everything else may take.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// Everything that is running.
struct House {
    heart: Intercom,
    hands: Hands,
    tasks: Tasks,
    inbox: mpsc::Receiver<Input>,
    inbox_in: mpsc::Sender<Input>,
    presses: mpsc::Receiver<ButtonEvent>,
    control: mpsc::Receiver<ControlRequest>,
    probes: mpsc::Receiver<()>,
    /// Pictures of visitors, as they are made.
    portraits: mpsc::Receiver<(CallId, Vec<u8>)>,
    /// Calls whose pictures are on the disk.
    kept: mpsc::Receiver<CallId>,
    /// What the outside asks for.
    wishes: mpsc::Receiver<Wish>,
    progress: Progress,
    events: Events,
    lan: Option<Arc<Lan>>,
    stop_control: oneshot::Sender<()>,
}

/// Runs the door until it is told to stop.
///
/// # Errors
///
/// When something the door cannot do without is missing at the start, or an essential task ended.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut house = House::build(settings).await?;
    house.announce();
    let outcome = house.live(&mut signals).await;
    notify::stopping();
    let clean_up = async {
        house.say_goodbye().await;
        house.leave().await;
    };
    tokio::select! {
        () = clean_up => {}
        () = signals.next() => warn!("stopped at once by a second signal"),
    }
    outcome
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl House {
    async fn build(settings: Settings) -> anyhow::Result<Self> {
        let mut tasks = Tasks::new();
        let (inbox_in, inbox) = mpsc::channel(INBOX);
        // 4: a visitor who presses faster than the heart listens means the same by it.
        let (press_in, presses) = mpsc::channel(4);

        // The panel first: its outputs are safe from here on, and the media library may look through all
        // its plugins for a minute.
        let panel = Panel::open(&settings.board, press_in)?;
        panel.listen_to_keys();
        match panel.watch_button() {
            Some(button) => {
                let told = errands::tell_button(button, inbox_in.clone());
                tasks.spawn("button state", Weight::Ordinary, told);
            }
            // Wired, not required, and not to be had: the door is deaf.
            None if settings.board.button.is_some() => {
                let _ = inbox_in.try_send(Input::Broken(Part::Button));
            }
            None => {}
        }

        media::init().context("the media library does not start")?;

        let server = Server::bind(&settings.socket).context("cannot open the control socket")?;
        let events = Events::new();
        let (control_in, control) = mpsc::channel(REQUESTS);
        let (stop_control, stopped) = oneshot::channel();
        if let Some(address) = settings.metrics {
            let serving = errands::serve_metrics(address, control_in.clone());
            tasks.spawn("metrics", Weight::Ordinary, serving);
        }
        let serving = server.run(control_in, events.clone(), async {
            let _ = stopped.await;
        });
        tasks.spawn("control", Weight::Essential, serving);

        let playback = Playback::new(&settings.board);
        let capture = Capture::beside(&settings.board, &playback);
        let told = errands::tell_camera(capture.watch(), inbox_in.clone());
        tasks.spawn("camera state", Weight::Ordinary, told);
        let network = Network {
            policy: settings.ice.policy,
            extra_servers: settings.ice.servers.iter().map(ice_server).collect(),
            extra_roots: Vec::new(),
        };
        let (fanout, bandwidth) = (capture.fanout(), capture.bandwidth());
        let picture = Picture {
            level: media::plan::level_of(&settings.board),
            taste: errands::taste().await,
        };
        let links =
            Links::new(fanout, bandwidth, playback.clone(), inbox_in.clone(), network, picture)
                .with_ears(match settings.board.microphone.listen_in {
                    true => Ears::Open,
                    false => Ears::Answered,
                });

        let lan = match &settings.lan {
            None => None,
            Some(lan) => Some(lines::start_lan(lan, &settings).await?),
        };
        let uplinks = lines::uplinks(&settings, lan.as_ref(), &inbox_in);
        let known: Vec<UplinkId> = uplinks.keys().copied().collect();
        for handle in uplinks.values() {
            let told = errands::tell_uplink(handle.status(), events.clone());
            tasks.spawn(format!("{} status", handle.id()), Weight::Ordinary, told);
        }

        let watching = errands::watch_network(inbox_in.clone());
        tasks.spawn("network", Weight::Ordinary, watching);

        if let Some(hours) = settings.quiet {
            let watching = errands::watch_hours(hours, inbox_in.clone());
            tasks.spawn("quiet hours", Weight::Ordinary, watching);
        }

        let (clerk, keeper) = Clerk::open(&settings);
        if clerk.was_cut_off() {
            info!("a ring was cut off by the end of the daemon a moment ago; it rings on");
            let _ = inbox_in.try_send(Input::Press);
        }
        // 4: some pictures at once would be calls at once.
        let (kept_in, kept) = mpsc::channel(4);
        tasks.spawn("call log", Weight::Ordinary, keeper.run(kept_in));

        let waking = clerk.household().waking();
        let started = Hooks::start_with(&settings.hooks, &settings.channel, waking);
        for (name, run) in started.tasks {
            tasks.spawn(name, Weight::Ordinary, run);
        }

        let progress = Progress::new();
        // 1: a second probe before the loop turned asks for nothing more.
        let (probe_in, probes) = mpsc::channel(1);
        if let Some(watchdog) = Watchdog::from_environment() {
            let ask = move || {
                let _ = probe_in.try_send(());
            };
            tasks.spawn("watchdog", Weight::Essential, watchdog.run(&progress, ask));
        }

        let run = uuid::Uuid::new_v4().simple().to_string();
        let mut heart = Intercom::new(settings.rules.clone(), &format!("c-{}", &run[..8]), &known);
        if let Some(relay) = &settings.board.relay {
            heart.wire_release(ReleaseRules { pulse: relay.pulse, max_pulse: relay.max_pulse });
        }
        // Without `arm` the service's line is down between calls, as its owner wants it.
        let unarmed = settings.uplink.as_ref().is_some_and(|uplink| !uplink.arm);
        let lines =
            known.iter().filter(|id| !(id.is_for_looks() || unarmed && **id == UplinkId::Service));
        heart.watch_lines(&lines.copied().collect::<Vec<_>>());
        let address = lan.as_ref().map(|lan| lan.address().to_owned());
        if let (Some(button), Some(address)) = (panel.watch_button(), address.clone()) {
            let screen = playback.clone();
            let pairing = errands::pair_at_start(
                button,
                move |code| screen.code(code),
                address,
                errands::up_for(),
            );
            tasks.spawn("pairing", Weight::Ordinary, pairing);
        }
        heart.handle(Instant::now(), Input::Persons(clerk.count()));
        // 2: one call's picture, and that of the next.
        let (portraits_in, portraits) = mpsc::channel(2);
        let herald = Herald::new(started.hooks);
        let publisher = settings.publish.as_ref().map(|publish| {
            let (publisher, work) = Publisher::new(publish, links.clone());
            tasks.spawn("media server", Weight::Ordinary, work);
            publisher
        });
        let answers = inbox_in.clone();
        let rooms = Rooms {
            links,
            uplinks,
            capture,
            playback,
            panel,
            clerk,
            herald,
            publisher,
            inbox: answers,
        };
        let warm = settings.board.camera.warm == Warm::Camera;
        let hands =
            Hands::new(rooms, events.clone(), address, settings.messages, portraits_in, warm);
        Ok(Self {
            heart,
            hands,
            tasks,
            inbox,
            inbox_in,
            presses,
            control,
            probes,
            portraits,
            kept,
            wishes: started.wishes,
            progress,
            events,
            lan,
            stop_control,
        })
    }

    /// The one line that says the door is ready. The page's address carries the hub's key, so all of it is shown at
    /// a terminal only: whatever else takes our output may keep it.
    fn announce(&self) {
        let version = env!("CARGO_PKG_VERSION");
        let public = self.hands.address().map(|address| {
            let end = address.find('#').unwrap_or(address.len());
            &address[..end]
        });
        match public {
            Some(page) => info!("intercomd {version} is ready; the page is at {page}"),
            None => info!("intercomd {version} is ready; no page is served in the local network"),
        }
        notify::ready("waiting for the doorbell");
        let shown = match (self.hands.address(), public) {
            (Some(address), _) if std::io::stdout().is_terminal() => address.to_owned(),
            (_, Some(page)) => format!("{page} (`intercomd ctl pair` shows the full address)"),
            (_, None) => "no page is served in the local network".to_owned(),
        };
        // Whoever started us may not read our output; that is no reason not to run.
        let _ = writeln!(std::io::stdout(), "intercomd ready: {shown}");
    }

    async fn live(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        // The heart's time begins.
        self.take(Input::Wakeup);
        loop {
            self.carry_out();
            let wake = self.heart.poll_timeout().map(|(at, _)| at);
            tokio::select! {
                biased;
                () = signals.next() => return Ok(()),
                // Before the rest: a visitor listens for the chime. Fingers cannot fill this up.
                Some(event) = self.presses.recv() => self.take(match event {
                    ButtonEvent::Press => Input::Press,
                    ButtonEvent::LongPress => Input::LongPress,
                }),
                Some(input) = self.inbox.recv() => self.take(input),
                Some(request) = self.control.recv() => self.answer(request),
                () = sleep_until(wake) => self.take(Input::Wakeup),
                Some((call, jpeg)) = self.portraits.recv() => {
                    if self.hands.clerk.portrait(&call, jpeg) {
                        self.take(Input::Picture(call));
                    }
                }
                Some(call) = self.kept.recv() => {
                    let path = self.hands.clerk.picture_path(&call);
                    self.hands.herald.picture(&call, path);
                }
                Some(Wish::Open { .. }) = self.wishes.recv() => {
                    // Whether it was done is an event, as for everybody.
                    let _ = self.heart.unlock(Instant::now(), Opener::Automation, None);
                }
                Some(()) = self.probes.recv() => {}
                ended = self.tasks.essential_end() => {
                    error!("{ended}");
                    return Err(anyhow::anyhow!("{ended}"));
                }
            }
            self.progress.beat();
        }
    }

    fn take(&mut self, input: Input) {
        match &input {
            Input::Link(link, LinkEvent::Closed) => self.hands.forget(link),
            Input::Uplink(uplink, UplinkEvent::Up { .. } | UplinkEvent::ServersChanged) => {
                self.hands.warm(*uplink);
            }
            Input::Network(_) => self.hands.network_changed(),
            _ => {}
        }
        self.heart.handle(Instant::now(), input);
    }

    /// Hands the heart's commands out until it has no more; what cannot be done at once comes back
    /// as an input.
    fn carry_out(&mut self) {
        loop {
            while let Some(command) = self.heart.poll_command() {
                self.hands.carry_out(command, &mut self.tasks);
            }
            let Some(input) = self.hands.poll_refused() else { return };
            self.heart.handle(Instant::now(), input);
        }
    }

    fn answer(&mut self, request: ControlRequest) {
        // Whoever has been told that nobody answers must not open a door, or ring, a while after that.
        if request.reply.is_closed() && !matches!(request.ask, Ask::Status) {
            return warn!("a request of user {} came too late and is not carried out", request.uid);
        }
        let reply = match request.ask {
            Ask::AddPerson(name) => {
                return self.change_persons(Change::Add(name), request.uid, request.reply);
            }
            Ask::RemovePerson(name) => {
                return self.change_persons(Change::Remove(name), request.uid, request.reply);
            }
            Ask::Log(count) => self.hands.clerk.log(count),
            Ask::ClearLog => self.hands.clerk.clear_log(),
            Ask::Persons => self.hands.clerk.known(),
            Ask::Press => {
                info!("pressed through the control socket by user {}", request.uid);
                self.take(Input::Press);
                Reply::done()
            }
            Ask::Hangup => match self.heart.snapshot().state {
                CallState::Idle | CallState::Ending => Reply::refused(
                    "there is no call to end",
                    "press the doorbell first, or see `intercomd ctl status`",
                ),
                _ => {
                    info!("hung up through the control socket by user {}", request.uid);
                    self.take(Input::Hangup);
                    Reply::done()
                }
            },
            Ask::Unlock(length) => self.unlock(Opener::Control { uid: request.uid }, length),
            Ask::Status => Reply::status(self.hands.status(&self.heart.snapshot())),
        };
        // A client that went away needs no answer.
        let _ = request.reply.send(reply);
    }

    /// Beside the loop: a slow disk must not hold up a ring.
    fn change_persons(&mut self, change: Change, uid: u32, reply: oneshot::Sender<Reply>) {
        let household = self.hands.clerk.household().clone();
        let inbox = self.inbox_in.clone();
        let address = self.hands.address().map(str::to_owned);
        let changing = async move {
            let done = tokio::task::spawn_blocking(move || {
                let reply = household.change(&change, uid, address.as_deref());
                (reply, household.persons().count())
            });
            let Ok((answer, count)) = done.await else { return };
            // Before the answer: who hears that a person may open tries it.
            let _ = inbox.send(Input::Persons(count)).await;
            let _ = reply.send(answer);
        };
        self.tasks.spawn("persons", Weight::Ordinary, changing);
    }

    fn unlock(&mut self, by: Opener, length: Option<Duration>) -> Reply {
        match self.heart.unlock(Instant::now(), by, length) {
            Ok(_) => Reply::done(),
            Err(Refusal::NotWired) => Reply::refused(
                "this door has no relay to open it with",
                "wire one and describe it in [relay] of the configuration",
            ),
            Err(Refusal::Open) => Reply::refused(
                "the door is open already, and no release is made longer",
                "ask again when it is over",
            ),
            Err(Refusal::LockedOut) => {
                Reply::refused("the door was open a moment ago", "ask again in two seconds")
            }
            Err(Refusal::Length { longest }) => Reply::refused(
                "a release of this length is not allowed",
                format!(
                    "ask for {} to {} (`max_pulse` of [relay])",
                    humantime::format_duration(SHORTEST_PULSE),
                    humantime::format_duration(longest)
                ),
            ),
            Err(Refusal::Stopping) => {
                Reply::refused("the daemon is stopping", "ask again when it runs")
            }
            Err(Refusal::Denied(why)) => {
                Reply::refused(why.name(), "ask through the control socket as a user who may")
            }
        }
    }

    /// Ends a call in progress the way a person would: says so, then goes.
    async fn say_goodbye(&mut self) {
        let deadline = Instant::now() + GOODBYE;
        self.take(Input::Shutdown);
        self.carry_out();
        while self.heart.snapshot().state != CallState::Idle && Instant::now() < deadline {
            let wake = self.heart.poll_timeout().map_or(deadline, |(at, _)| at.min(deadline));
            tokio::select! {
                biased;
                Some(input) = self.inbox.recv() => self.take(input),
                () = sleep_until(Some(wake)) => self.take(Input::Wakeup),
            }
            self.carry_out();
        }
    }

    async fn leave(self) {
        // From here on nobody listens; senders see it and end.
        drop((self.inbox, self.presses, self.control, self.probes, self.portraits));
        drop((self.kept, self.wishes, self.progress));
        self.events.tell(Happening::Stopping);
        let _ = self.stop_control.send(());
        let hands = self.hands;
        let lan = self.lan;
        let closing = async {
            hands.close().await;
            // The door's own uplink held the other reference and is gone.
            if let Some(lan) = lan.and_then(Arc::into_inner) {
                lan.stop().await;
            }
        };
        if tokio::time::timeout(CLEAN_UP, closing).await.is_err() {
            warn!("not everything could be closed within {CLEAN_UP:?}");
        }
        let late = self.tasks.shutdown(Duration::from_secs(1)).await;
        debug!("stopped; {} tasks were cut short", late.len());
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
