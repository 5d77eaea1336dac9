//! A status as OpenMetrics text (docs/metrics.md).
//!
//! Pure: values in, text out. Names and labels here are kept once released. Labels have few values: no id of a peer
//! or a call is one.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::control::{State, Status};
use super::health::Grade;

/// What the text is (OpenMetrics 1.0.0 section 4.1).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Parts that `faults` of the status can name.
const PARTS: [&str; 4] = ["button", "camera", "line service", "line lan"];
const DOORS: [&str; 4] = ["not_wired", "locked", "open", "locked_out"];
const UPLINKS: [&str; 5] = ["offline", "connecting", "connected", "joined", "refused"];
const CAPTURES: [&str; 4] = ["off", "starting", "running", "broken"];
/// The one count of the status that also falls.
const LINKS_OPEN: &str = "links_open";

/// What the process takes of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory in use, in bytes.
    pub resident: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

type Labels = Vec<(&'static str, String)>;
type Real = Gauge<f64, std::sync::atomic::AtomicU64>;

struct Page(Registry);

impl Page {
    fn gauges(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Real>::default();
        for (labels, value) in series {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [(Labels::new(), value)]);
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in series {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, [(Labels::new(), value)]);
    }

    /// One series for each state there is, 1 for the one it is in: so that none is missing when it is looked for.
    fn states<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        all: impl IntoIterator<Item = &'a str>,
        now: &str,
    ) {
        let series =
            all.into_iter().map(|state| (vec![(label, state.to_owned())], is(state == now)));
        self.gauges(name, help, series.collect::<Vec<_>>());
    }
}

fn is(truth: bool) -> f64 {
    f64::from(u8::from(truth))
}

/// The text.
///
/// # Errors
/// None in practice: writing to a text does not fail.
pub fn text(status: &Status, usage: Usage) -> Result<String, fmt::Error> {
    let mut page = Page(Registry::with_prefix("intercomd"));
    let version = Info::new(vec![("version", status.version.clone())]);
    page.0.register("build", "The running program", version);
    page.gauge("uptime_seconds", "Time since the start", status.uptime_s as f64);
    let health = &status.health;
    let words = Grade::ALL.map(Grade::name);
    page.states("health", "How the door is", "health", words, health.word.name());
    call(&mut page, status);
    page.states("door", "The door release", "state", DOORS, &status.door);
    let faults = PARTS.map(|part| {
        let out = status.faults.iter().any(|fault| fault == part);
        (vec![("part", part.to_owned())], is(out))
    });
    page.gauges("fault", "Whether this part is out of order", faults);
    uplinks(&mut page, status);
    peers(&mut page, status);
    media(&mut page, status);
    hooks(&mut page, status);
    for (name, value) in &status.counters {
        match name.as_str() {
            LINKS_OPEN => page.gauge(name, "Peer connections that are open", *value as f64),
            _ => page.counter(name, "See the table of counters in docs/metrics.md", *value),
        }
    }
    page.gauge("resident_memory_bytes", "Memory of the process", usage.resident as f64);
    page.gauge("open_descriptors", "File descriptors of the process", usage.descriptors as f64);
    page.gauge("threads", "Threads of the process", usage.threads as f64);
    let mut text = String::new();
    encode(&mut text, &page.0)?;
    Ok(text)
}

fn call(page: &mut Page, status: &Status) {
    let states = State::ALL.map(State::name);
    page.states("call", "What the door is doing", "state", states, status.state.name());
    if let Some(call) = &status.call {
        page.gauge("call_since_timestamp_seconds", "When this call was rung", call.since);
    }
}

fn uplinks(page: &mut Page, status: &Status) {
    let by_state = status.uplinks.iter().flat_map(|uplink| {
        UPLINKS.map(|state| {
            let labels = vec![("uplink", uplink.name.clone()), ("state", state.to_owned())];
            (labels, is(uplink.state == state))
        })
    });
    page.gauges("uplink", "Where a line stands", by_state.collect::<Vec<_>>());
    let advised = status
        .uplinks
        .iter()
        .map(|uplink| (vec![("uplink", uplink.name.clone())], is(uplink.advice.is_some())));
    page.gauges(
        "uplink_advice",
        "Whether the owner should do something for this line",
        advised.collect::<Vec<_>>(),
    );
    let clocks = status.uplinks.iter().map(|uplink| {
        let ahead = uplink.clock_ahead_s.unwrap_or(0);
        (vec![("uplink", uplink.name.clone())], ahead as f64)
    });
    page.gauges(
        "uplink_clock_ahead_seconds",
        "The door's clock before that of the signalling side, 0 within a minute",
        clocks.collect::<Vec<_>>(),
    );
}

fn peers(page: &mut Page, status: &Status) {
    let count = |test: fn(&super::control::PeerStatus) -> bool| {
        status.peers.iter().filter(|peer| test(peer)).count() as f64
    };
    page.gauge("peers", "Phones in view", count(|_| true));
    page.gauge(
        "peers_connected",
        "Phones with a link that is up",
        count(|p| p.link == "connected"),
    );
    page.gauge("peers_answered", "Phones that have answered", count(|p| p.answered));
    page.gauge(
        "peers_relayed",
        "Phones reached through a TURN server",
        count(|peer| {
            peer.path.as_ref().is_some_and(|path| path.split('-').any(|kind| kind == "relay"))
        }),
    );
    let worst = status.peers.iter().filter_map(|peer| peer.loss_percent).max();
    if let Some(worst) = worst {
        page.gauge(
            "peers_worst_loss_ratio",
            "Loss on the worst way to a phone",
            f64::from(worst) / 100.0,
        );
    }
}

fn media(page: &mut Page, status: &Status) {
    let media = &status.media;
    let capture = media.capture.split(':').next().unwrap_or_default();
    page.states("capture", "Camera, microphone and encoder", "state", CAPTURES, capture);
    page.gauge(
        "bitrate_bits_per_second",
        "What the encoder is told to use",
        f64::from(media.bitrate_kbps) * 1000.0,
    );
    page.counter("frames", "Pictures encoded", media.frames);
    page.counter("frames_shown", "Pictures of phones shown", media.frames_shown);
    page.counter("audio_played", "Pieces of sound of phones played", media.audio_played);
    page.counter("pipelines_built", "Capture pipelines built", media.pipelines_built);
}

fn hooks(page: &mut Page, status: &Status) {
    let series = |value: fn(&super::control::HookStatus) -> u64| {
        let hooks = status.hooks.iter();
        hooks.map(|hook| (vec![("hook", hook.name.clone())], value(hook))).collect::<Vec<_>>()
    };
    page.counters("hook_sent", "Events that got there", series(|hook| hook.sent));
    page.counters("hook_failed", "Events that did not, for good", series(|hook| hook.failed));
    page.counters("hook_dropped", "Events that found the queue full", series(|hook| hook.dropped));
    let real = |(labels, value): (Labels, u64)| (labels, value as f64);
    let waiting: Vec<_> = series(|hook| hook.waiting).into_iter().map(real).collect();
    page.gauges("hook_waiting", "Events that wait", waiting);
    let failing: Vec<_> =
        series(|hook| u64::from(hook.error.is_some())).into_iter().map(real).collect();
    page.gauges("hook_failing", "Whether nothing got there since the last failure", failing);
}

#[cfg(test)]
mod tests {
    use super::super::control::{CallStatus, HookStatus, MediaStatus, PeerStatus, UplinkStatus};
    use super::super::health::Health;
    use super::*;

    fn status() -> Status {
        Status {
            state: State::Talking,
            health: Health { word: Grade::Degraded, reasons: vec!["the camera is gone".into()] },
            call: Some(CallStatus { id: "c-1".into(), since: 1_795_690_000.5, budget: None }),
            uplinks: vec![UplinkStatus {
                name: "lan".into(),
                state: "joined".into(),
                clock_ahead_s: Some(-90),
                ..UplinkStatus::default()
            }],
            peers: vec![PeerStatus {
                id: "7d1e".into(),
                link: "connected".into(),
                answered: true,
                path: Some("relay-srflx".into()),
                loss_percent: Some(3),
                ..PeerStatus::default()
            }],
            door: "locked".into(),
            faults: vec!["camera".into()],
            hooks: vec![HookStatus {
                name: "webhook \"own\\er\".example".into(),
                sent: 7,
                error: Some("x".into()),
                ..HookStatus::default()
            }],
            media: MediaStatus { capture: "broken: it is gone".into(), ..MediaStatus::default() },
            counters: [("calls".to_owned(), 12), ("links_open".to_owned(), 1)].into(),
            version: "0.1.0".into(),
            address: Some("https://door/#key=lan_secret".into()),
            ..Status::default()
        }
    }

    #[test]
    fn what_an_operator_alarms_on_is_in_the_text() {
        let usage = Usage { resident: 4096, descriptors: 30, threads: 12 };
        let text = text(&status(), usage).expect("written");
        for line in [
            "intercomd_build_info{version=\"0.1.0\"} 1",
            "intercomd_call{state=\"talking\"} 1.0",
            "intercomd_call{state=\"idle\"} 0.0",
            "intercomd_health{health=\"degraded\"} 1.0",
            "intercomd_fault{part=\"camera\"} 1.0",
            "intercomd_fault{part=\"line lan\"} 0.0",
            "intercomd_uplink{uplink=\"lan\",state=\"joined\"} 1.0",
            "intercomd_uplink_clock_ahead_seconds{uplink=\"lan\"} -90.0",
            "intercomd_capture{state=\"broken\"} 1.0",
            "intercomd_calls_total 12",
            "intercomd_links_open 1.0",
            "intercomd_peers_relayed 1.0",
            "intercomd_peers_worst_loss_ratio 0.03",
            "intercomd_hook_sent_total{hook=\"webhook \\\"own\\\\er\\\".example\"} 7",
            "intercomd_resident_memory_bytes 4096.0",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn no_id_and_no_key_is_in_the_text() {
        let text = text(&status(), Usage::default()).expect("written");
        for secret in ["7d1e", "c-1", "lan_secret"] {
            assert!(!text.contains(secret), "{secret} is in\n{text}");
        }
    }

    #[test]
    fn a_door_that_somebody_looks_through_is_in_a_state_of_its_own() {
        let looking = Status { state: State::Looking, ..Status::default() };
        let text = text(&looking, Usage::default()).expect("written");
        let now = |line: &&str| line.starts_with("intercomd_call{") && line.ends_with("} 1.0");
        let states: Vec<_> = text.lines().filter(now).collect();
        assert_eq!(states, ["intercomd_call{state=\"looking\"} 1.0"]);
    }

    #[test]
    fn a_door_that_has_seen_nothing_yet_has_every_state_at_0_or_1() {
        let text = text(&Status::default(), Usage::default()).expect("written");
        let states = text.lines().filter(|line| line.starts_with("intercomd_call{")).count();
        assert_eq!(states, 6);
        assert!(!text.contains("intercomd_call_since_timestamp_seconds"));
    }
}
