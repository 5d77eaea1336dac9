//! The daemon's small tasks: each watches one thing and tells the heart, or the watchers, when it changes.
//!
//! They end with the daemon's loop, whose channels they feed.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::config::QuietHours;
use crate::hardware::ButtonState;
use crate::intercom::{CallId, Input, Part};
use crate::media::{self, CaptureStatus, Fanout, Sight, portrait};
use crate::rtc::Taste;
use crate::service::happenings::Happening;
use crate::service::metrics_page::MetricsPage;
use crate::service::network;
use crate::service::server::{ControlRequest, Events};
use crate::signalling::status::UplinkStatus;

/// How often the clock is asked whether it is quiet hours: it may be set meanwhile.
const CLOCK: Duration = Duration::from_secs(60);

/// Tells the heart when quiet hours begin and end, by the local clock.
pub async fn watch_hours(hours: QuietHours, inbox: mpsc::Sender<Input>) {
    let mut told = false;
    loop {
        // An unknown time is no reason to leave a visitor standing.
        let quiet = media::minute_of_day().is_some_and(|minute| hours.contains(minute));
        if quiet != told {
            told = quiet;
            if inbox.send(Input::Quiet(quiet)).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(CLOCK).await;
    }
}

/// How long the page's address stays on the screen of a door whose button is held while it starts.
const PAIRING: Duration = Duration::from_secs(120);

/// A machine that has been up for longer was not just switched on.
const FRESH: Duration = Duration::from_secs(300);

/// How long this machine has been up; `None` where the kernel does not say.
pub fn up_for() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(text.split_whitespace().next()?.parse().ok()?).ok()
}

/// Shows the page's address on the screen for as long as the button is held that was held already when the door
/// claimed it, right after the machine was switched on, and a while longer: who can cut the power and hold the button
/// stands before the door with its owner. `up` is how long the machine has been up.
pub async fn pair_at_start(
    mut button: watch::Receiver<ButtonState>,
    show: impl Fn(Option<String>),
    address: String,
    up: Option<Duration>,
) {
    let fresh = up.is_some_and(|up| up < FRESH);
    if !fresh || *button.borrow_and_update() != ButtonState::Held {
        return;
    }
    info!(
        "the button is held at the start: the page's address is on the screen for two minutes, or until a press"
    );
    show(Some(address));
    let released = async {
        // Let go, then pressed again: somebody rings.
        for state in [ButtonState::Released, ButtonState::Pressed] {
            if button.wait_for(|now| *now == state).await.is_err() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(PAIRING, released).await;
    show(None);
}

/// Takes the visitor's picture and hands it on.
pub async fn take_portrait(
    call: CallId,
    fanout: Fanout,
    pictures: mpsc::Sender<(CallId, Vec<u8>)>,
) {
    match portrait::take(&fanout).await {
        Ok(jpeg) => {
            // The daemon is gone when nobody takes it any more.
            let _ = pictures.send((call, jpeg)).await;
        }
        Err(why) => debug!("no picture of the visitor of call {call}: {why}"),
    }
}

/// How long to wait for the address of the metrics, which may come with an interface that is not up yet.
const METRICS: Duration = Duration::from_secs(30);

/// Serves the metrics, as soon as their address can be had: nobody is left before a door that only cannot be measured.
pub async fn serve_metrics(address: SocketAddr, daemon: mpsc::Sender<ControlRequest>) {
    let mut said = false;
    let page = loop {
        match MetricsPage::bind(address).await {
            Ok(page) => break page,
            Err(why) if !said => warn!("{why}; the door rings without them"),
            Err(why) => debug!("{why}"),
        }
        said = true;
        tokio::time::sleep(METRICS).await;
    };
    page.run(daemon).await;
}

/// Tells watchers when an uplink's state changes.
pub async fn tell_uplink(mut status: watch::Receiver<UplinkStatus>, events: Events) {
    let mut last = "";
    while status.changed().await.is_ok() {
        let (name, state) = {
            let status = status.borrow_and_update();
            (status.name, status.state.name())
        };
        if state != last {
            last = state;
            events.tell(Happening::Uplink { name: name.to_owned(), state: state.to_owned() });
        }
    }
}

/// Tells the heart when the button gets out of order, and when it is well again.
pub async fn tell_button(mut button: watch::Receiver<ButtonState>, inbox: mpsc::Sender<Input>) {
    let mut was = false;
    loop {
        let is = button.borrow_and_update().is_fault();
        if is != was {
            was = is;
            let input = if is { Input::Broken } else { Input::Mended };
            if inbox.send(input(Part::Button)).await.is_err() {
                return;
            }
        }
        if button.changed().await.is_err() {
            return;
        }
    }
}

/// How long the start of the door may wait for an opinion on codecs.
const TASTE: Duration = Duration::from_secs(3);

/// Which pictures phones should rather send.
pub async fn taste() -> Taste {
    let asking = tokio::task::spawn_blocking(|| {
        media::plan_playback::prefers_h264(&media::devices::screen_probe())
    });
    match tokio::time::timeout(TASTE, asking).await {
        Ok(Ok(true)) => Taste::H264,
        Ok(Ok(false) | Err(_)) | Err(_) => Taste::Any,
    }
}

/// The same for the camera, of which nothing is known between calls.
pub async fn tell_camera(mut capture: watch::Receiver<CaptureStatus>, inbox: mpsc::Sender<Input>) {
    let mut told = Sight::Works;
    loop {
        let sight = capture.borrow_and_update().sight;
        let news = match sight {
            Sight::Unknown => None,
            Sight::Works => Some(Input::Mended(Part::Camera)),
            Sight::Away => Some(Input::Broken(Part::Camera)),
        };
        if let Some(news) = news.filter(|_| sight != told) {
            told = sight;
            if inbox.send(news).await.is_err() {
                return;
            }
        }
        if capture.changed().await.is_err() {
            return;
        }
    }
}

/// Without it the door goes on and notices changes of the network later, by silence.
pub async fn watch_network(inbox: mpsc::Sender<Input>) {
    if let Err(error) = network::watch(inbox).await {
        warn!("{error}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Shown = Arc<Mutex<Vec<Option<String>>>>;

    /// What is on the screen while an errand runs.
    fn screen() -> (Shown, impl Fn(Option<String>)) {
        let shown = Shown::default();
        let screen = Arc::clone(&shown);
        (shown, move |code| screen.lock().expect("nobody panics").push(code))
    }

    fn address() -> String {
        "https://door/".to_owned()
    }

    const UP: Option<Duration> = Some(Duration::from_secs(20));

    #[tokio::test(start_paused = true)]
    async fn metrics_whose_address_is_taken_are_served_once_it_is_free() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = taken.local_addr().expect("bound");
        let (daemon, _asked) = mpsc::channel(1);
        let serving = tokio::spawn(serve_metrics(address, daemon));
        tokio::time::sleep(METRICS * 3).await;
        assert!(!serving.is_finished(), "it goes on trying");
        drop(taken);
        tokio::time::sleep(METRICS * 2).await;
        assert!(tokio::net::TcpStream::connect(address).await.is_ok());
        serving.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_is_shown_to_who_holds_the_button_at_the_start_until_the_next_press() {
        let (button, state) = watch::channel(ButtonState::Held);
        let (shown, show) = screen();
        let task = tokio::spawn(pair_at_start(state, show, address(), UP));
        tokio::task::yield_now().await;
        assert_eq!(*shown.lock().expect("fine"), [Some(address())]);
        button.send_replace(ButtonState::Released);
        tokio::task::yield_now().await;
        assert!(!task.is_finished(), "there is time to take the phone out");
        button.send_replace(ButtonState::Pressed);
        task.await.expect("it ends");
        assert_eq!(*shown.lock().expect("fine"), [Some(address()), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_goes_by_itself() {
        let (_button, state) = watch::channel(ButtonState::Held);
        let (shown, show) = screen();
        pair_at_start(state, show, address(), UP).await;
        assert_eq!(*shown.lock().expect("fine"), [Some(address()), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_is_never_shown_to_who_rings_or_when_only_the_daemon_starts_again() {
        let long = Some(Duration::from_secs(86_400));
        for (state, up) in [
            (ButtonState::Pressed, UP),
            (ButtonState::Released, UP),
            (ButtonState::Held, long),
            (ButtonState::Held, None),
        ] {
            let (_button, state) = watch::channel(state);
            let (shown, show) = screen();
            pair_at_start(state, show, address(), up).await;
            assert!(shown.lock().expect("fine").is_empty());
        }
    }
}
