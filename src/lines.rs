//! How the daemon's uplinks are made of the configuration: one to its own hub, one to the managed service.
//!
//! Starts them and hands them over; what goes over them is the heart's business.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::names::look_channel;
use crate::config::{Credential, LanSettings, Settings, UplinkSettings};
use crate::intercom::{Input, UplinkId};
use crate::signalling::lan::{self, Lan};
use crate::signalling::uplink::{Key, Login, TokenSource, Transport, Uplink, UplinkHandle};

/// The hub of the local network and its page.
///
/// # Errors
/// When it cannot listen, or its key or certificate cannot be had.
pub async fn start_lan(lan: &LanSettings, settings: &Settings) -> anyhow::Result<Arc<Lan>> {
    let options = lan::Options {
        listen: lan.listen,
        web_dir: lan.web_dir.clone(),
        tls: lan
            .tls
            .as_ref()
            .map(|files| lan::TlsFiles { cert: files.cert.clone(), key: files.key.clone() }),
        door_peer_id: lan.door_peer_id.clone(),
    };
    let lan = lan::start(options, &settings.channel, &settings.state_dir).await?;
    Ok(Arc::new(lan))
}

/// The door's own place in its hub.
pub fn lan_uplink(lan: &Arc<Lan>, channel: &str, inbox: mpsc::Sender<Input>) -> UplinkHandle {
    let login = Login::Key(Key::new(lan.key()));
    let hub = Arc::clone(lan);
    let pipe = Transport::Pipe(Arc::new(move || hub.connect_door()));
    Uplink::spawn(UplinkId::Lan, pipe, login, channel.to_owned(), true, inbox)
}

/// The door's place in its hub where those who look in meet it.
pub fn lan_looks(lan: &Arc<Lan>, channel: &str, inbox: mpsc::Sender<Input>) -> UplinkHandle {
    let login = Login::Key(Key::new(lan.key()));
    let hub = Arc::clone(lan);
    let pipe = Transport::Pipe(Arc::new(move || hub.connect_looks()));
    Uplink::spawn(UplinkId::LanLooks, pipe, login, look_channel(channel), true, inbox)
}

/// The line to the managed service.
pub fn service_uplink(
    service: &UplinkSettings,
    channel: &str,
    inbox: mpsc::Sender<Input>,
) -> UplinkHandle {
    let transport = Transport::Url { origin: service.origin.clone() };
    let login = login(&service.credential);
    Uplink::spawn(UplinkId::Service, transport, login, channel.to_owned(), service.arm, inbox)
}

/// A second line to the managed service, where those who look in meet the door: what they send too much of costs no
/// call its line.
pub fn service_looks(
    service: &UplinkSettings,
    channel: &str,
    inbox: mpsc::Sender<Input>,
) -> UplinkHandle {
    let transport = Transport::Url { origin: service.origin.clone() };
    let login = login(&service.credential);
    Uplink::spawn(UplinkId::ServiceLooks, transport, login, look_channel(channel), true, inbox)
}

/// How the door is let in at the service.
pub fn login(credential: &Credential) -> Login {
    match credential {
        Credential::Key(key) => Login::Key(Key::new(key.expose())),
        Credential::Command(words) => Login::Tokens(TokenSource::Command(words.clone())),
        Credential::Url { url, bearer } => {
            Login::Tokens(TokenSource::Url { url: url.clone(), bearer: bearer.clone() })
        }
    }
}
