//! How the daemon's uplinks are made of the configuration: one to its own hub, one to the managed service.
//!
//! Starts them and hands them over; what goes over them is the heart's business.

use std::collections::BTreeMap;
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

/// Every line the settings ask for, each connecting by itself from now on.
pub fn uplinks(
    settings: &Settings,
    lan: Option<&Arc<Lan>>,
    inbox: &mpsc::Sender<Input>,
) -> BTreeMap<UplinkId, UplinkHandle> {
    let service = settings.uplink.as_ref();
    let mut all = vec![
        lan.map(|lan| of_lan(lan, UplinkId::Lan, &settings.channel, inbox)),
        service.map(|service| of_service(service, UplinkId::Service, &settings.channel, inbox)),
    ];
    if settings.look_in {
        // On connections of their own: what those who look send too much of costs no call its line.
        let channel = look_channel(&settings.channel);
        all.push(lan.map(|lan| of_lan(lan, UplinkId::LanLooks, &channel, inbox)));
        // A token names both lines the same, and who of the two would be sent what is not known (protocol.md section 3.2).
        let by_key = service.filter(|line| matches!(line.credential, Credential::Key(_)));
        all.push(by_key.map(|line| of_service(line, UplinkId::ServiceLooks, &channel, inbox)));
    }
    all.into_iter().flatten().map(|handle| (handle.id(), handle)).collect()
}

/// A place of the door's in its hub.
fn of_lan(
    lan: &Arc<Lan>,
    id: UplinkId,
    channel: &str,
    inbox: &mpsc::Sender<Input>,
) -> UplinkHandle {
    let login = Login::Key(Key::new(lan.key()));
    let hub = Arc::clone(lan);
    let pipe = Transport::Pipe(Arc::new(move || match id.is_for_looks() {
        true => hub.connect_looks(),
        false => hub.connect_door(),
    }));
    Uplink::spawn(id, pipe, login, channel.to_owned(), true, inbox.clone())
}

/// A line to the managed service. Whoever looks in finds the door there at any time.
fn of_service(
    service: &UplinkSettings,
    id: UplinkId,
    channel: &str,
    inbox: &mpsc::Sender<Input>,
) -> UplinkHandle {
    let transport = Transport::Url { origin: service.origin.clone() };
    let login = login(&service.credential);
    let arm = service.arm || id.is_for_looks();
    Uplink::spawn(id, transport, login, channel.to_owned(), arm, inbox.clone())
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
