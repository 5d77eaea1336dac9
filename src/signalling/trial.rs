//! The self-test of the service and of the LAN page: each step a call depends on, tried by itself and judged.
//!
//! It enters the door's channel for a moment, as a call does, and sends one message, to itself. Nobody is rung. No key
//! and no token appears in any word.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use url::{Host, Url};

use super::advice::{self, Action, Pass};
use super::cert::{self, Validity};
use super::connect::{Credential, OwnAddress, Socket, Transport, open};
use super::envelope;
use super::inbound::{self, Inbound};
use super::lan::TlsFiles;
use super::message::HubFrame;
use super::uplink::Login;
use crate::config::names::IceServer;
use crate::config::verdict::Verdict;

/// For a name.
const NAME: Duration = Duration::from_secs(5);
/// For a connection with TLS and the upgrade.
const OPENING: Duration = Duration::from_secs(15);
/// For the welcome.
const WELCOME: Duration = Duration::from_secs(10);
/// For the answer to a request.
const ANSWER: Duration = Duration::from_secs(10);
/// From an ack to the list of who is there.
const SNAPSHOT: Duration = Duration::from_secs(3);
/// How far the clocks may be apart without a word.
const CLOCK_SLACK: f64 = 60.0;
/// An own certificate with less than this left is due at the next start.
const DUE: Duration = Duration::from_secs(30 * 86_400);

/// What came of trying the service.
#[derive(Debug, Default)]
pub struct Tried {
    /// One judgement for each step that was reached.
    pub verdicts: Vec<Verdict>,
    /// The STUN and TURN servers it gives.
    pub servers: Vec<IceServer>,
}

/// Tries the service at `origin` (as `config::names::check_origin` returns it) step by step, and stops where it does
/// not get on. Takes a minute at most.
pub async fn service(origin: &str, login: &Login, channel: &str) -> Tried {
    // The first to come installs it; all of this program uses the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut tried = Tried::default();
    if let Some(verdict) = name(origin).await {
        let stop = verdict.grade == crate::config::verdict::Grade::Bad;
        tried.verdicts.push(verdict);
        if stop {
            return tried;
        }
    }
    let (credential, pass) = match login {
        Login::Key(key) => (Credential::Key(key.clone()), Pass::Key),
        Login::Tokens(source) => match source.fetch().await {
            Ok(token) => {
                tried.verdicts.push(Verdict::good("the source of tokens gives one"));
                (Credential::Token(token), Pass::Token)
            }
            Err(error) => {
                let remedy = "correct [uplink] token_command or token_url";
                tried.verdicts.push(Verdict::bad(error.to_string(), remedy));
                return tried;
            }
        },
    };
    let transport = Transport::Url { origin: origin.to_owned() };
    let socket = match timeout(OPENING, open(transport, credential, OwnAddress::default())).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => {
            let remedy = match &error {
                super::error::SignallingError::Http { status, .. } => {
                    advice::on_http(*status, pass).1
                }
                _ => "",
            };
            tried.verdicts.push(Verdict::bad(error.to_string(), remedy));
            return tried;
        }
        Err(_) => {
            tried.verdicts.push(Verdict::bad(
                format!("the service did not answer within {} s", OPENING.as_secs()),
                "see whether a firewall lets the door out, and whether the service has trouble",
            ));
            return tried;
        }
    };
    let secure = if origin.starts_with("wss:") { "with TLS" } else { "without TLS, as configured" };
    tried.verdicts.push(Verdict::good(format!("the service is reached {secure}")));
    let mut member = Member { socket, pass };
    member.be_greeted(&mut tried, channel).await;
    let _ = timeout(Duration::from_secs(1), member.socket.close(None)).await;
    tried
}

/// Whether the service's name is found; `None` where there is none to look up.
async fn name(origin: &str) -> Option<Verdict> {
    let url = Url::parse(origin).ok()?;
    let Some(Host::Domain(name)) = url.host() else { return None };
    let port = url.port_or_known_default()?;
    let remedy = "check the name server of this network (/etc/resolv.conf), and [uplink] url";
    Some(match timeout(NAME, lookup_host((name, port))).await {
        Ok(Ok(found)) => Verdict::good(format!("the name {name} has {} addresses", found.count())),
        Ok(Err(error)) => Verdict::bad(format!("the name {name} is not found: {error}"), remedy),
        Err(_) => Verdict::bad(format!("the name {name} is not found in time"), remedy),
    })
}

struct Member {
    socket: Socket,
    pass: Pass,
}

/// What a request came to.
enum Answer {
    Granted,
    Refused { code: String, message: Option<String> },
    Closed(Option<u16>),
    Silent,
}

impl Member {
    async fn be_greeted(&mut self, tried: &mut Tried, channel: &str) {
        let (own, metadata, server_time) = match self.frame(WELCOME).await {
            Ok(HubFrame::Welcome { peer_id, metadata, server_time, .. }) => {
                (peer_id, metadata, server_time)
            }
            Ok(_) => {
                let words = "the service began with something else than a welcome";
                let remedy = "check [uplink] url: this may be another service";
                return tried.verdicts.push(Verdict::bad(words, remedy));
            }
            Err(end) => return tried.verdicts.push(self.ended("the welcome", end)),
        };
        let what = if self.pass == Pass::Token { "token" } else { "key" };
        tried.verdicts.push(Verdict::good(format!("the service knows the {what}")));
        tried.verdicts.push(clock(server_time));
        tried.servers = envelope::ice_servers(metadata.as_ref()).unwrap_or_default();

        let subscribe = json!({"type": "subscribe", "channel": channel, "requestId": "selftest-1"});
        match self.ask(subscribe, "selftest-1").await {
            Answer::Granted => tried.verdicts.push(Verdict::good("the key may subscribe")),
            Answer::Refused { code, message } => {
                let action = Action::of_subscribe(message.as_deref());
                return tried.verdicts.push(refused(&code, action));
            }
            Answer::Closed(code) => return tried.verdicts.push(self.ended("subscribe", code)),
            Answer::Silent => return tried.verdicts.push(silent("subscribe")),
        }
        let due = Instant::now() + SNAPSHOT;
        let listed = async {
            loop {
                match self.frame(SNAPSHOT).await {
                    Ok(HubFrame::Presence { .. }) => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        };
        tried.verdicts.push(match timeout_at(due, listed).await {
            Ok(true) => Verdict::good("the key may see who is there (presence)"),
            _ => Verdict::bad(
                "nobody is shown in the channel: the key lacks presence",
                "enable 'presence' for this key in the dashboard and in its tokens",
            ),
        });
        let send = json!({"type": "send", "to": own, "requestId": "selftest-2",
                          "data": {"intercomd": 1, "type": "selftest"}});
        tried.verdicts.push(match self.ask(send, "selftest-2").await {
            Answer::Granted => Verdict::good("the key may send"),
            // That it was looked for at all needs the right.
            Answer::Refused { code, .. } if code == "peer_not_found" => {
                Verdict::good("the key may send")
            }
            Answer::Refused { code, .. } => refused(&code, Action::Send),
            Answer::Closed(code) => self.ended("send", code),
            Answer::Silent => silent("send"),
        });
        let words =
            "publish is not tried: the door never does, and everybody in the channel would hear it";
        tried.verdicts.push(Verdict::good(words));
        let leave = json!({"type": "unsubscribe", "channel": channel});
        let _ = timeout(ANSWER, self.socket.send(Message::text(leave.to_string()))).await;
    }

    async fn ask(&mut self, request: Value, id: &str) -> Answer {
        let sent = timeout(ANSWER, self.socket.send(Message::text(request.to_string()))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return Answer::Closed(None);
        }
        let due = Instant::now() + ANSWER;
        let answered = async {
            loop {
                match self.frame(ANSWER).await {
                    Ok(HubFrame::Ack { request_id }) if request_id == id => return Answer::Granted,
                    Ok(HubFrame::Error { code, request_id, message })
                        if request_id.as_deref() == Some(id) =>
                    {
                        return Answer::Refused { code, message };
                    }
                    Ok(_) => {}
                    Err(code) => return Answer::Closed(code),
                }
            }
        };
        timeout_at(due, answered).await.unwrap_or(Answer::Silent)
    }

    /// The next frame of the protocol; else the close code, if one came.
    async fn frame(&mut self, patience: Duration) -> Result<HubFrame, Option<u16>> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        if let Inbound::Frame(frame) = inbound::read(&text) {
                            return Ok(frame);
                        }
                    }
                    Some(Ok(Message::Close(close))) => {
                        return Err(close.map(|close| close.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(None),
                }
            }
        };
        timeout(patience, next).await.unwrap_or(Err(None))
    }

    fn ended(&self, what: &str, code: Option<u16>) -> Verdict {
        let words = match code {
            Some(code) => format!("the service closed the connection at {what} (code {code})"),
            None => format!("the service went away, or said nothing, at {what}"),
        };
        Verdict::bad(words, advice::on_close(code, self.pass).1)
    }
}

fn refused(code: &str, action: Action) -> Verdict {
    let what = match action {
        Action::Subscribe => "subscribe",
        Action::Presence => "see who is there (presence)",
        Action::Send => "send",
    };
    Verdict::bad(format!("the key may not {what} ({code})"), advice::on_error(code, action))
}

fn silent(what: &str) -> Verdict {
    let remedy = "try again; if it stays so, the service has trouble";
    Verdict::bad(format!("the service did not answer to {what} in time"), remedy)
}

/// The door's clock beside that of the service.
fn clock(server_time: f64) -> Verdict {
    let own = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    let ahead = own - server_time;
    match ahead.abs() <= CLOCK_SLACK {
        true => Verdict::good("the clock agrees with the service's"),
        false => Verdict::fair(
            format!(
                "the clock is {:.0} s {} the service's",
                ahead.abs(),
                match ahead > 0.0 {
                    true => "ahead of",
                    false => "behind",
                }
            ),
            "let the board set its clock by the network (systemd-timesyncd or chrony); the door allows for it \
             meanwhile, but TLS does not for long",
        ),
    }
}

/// What browsers will make of the certificate of the LAN page. `files` are an owner's; else it is the door's own,
/// below `state_dir`. `now` is the time of day.
pub fn certificate(
    listen: IpAddr,
    files: Option<&TlsFiles>,
    state_dir: &Path,
    now: SystemTime,
) -> Verdict {
    if listen.is_loopback() {
        return Verdict::good("the LAN page is for this machine only and needs no certificate");
    }
    let own = cert::own_files(state_dir);
    if files.is_none() && !own.cert.exists() {
        return Verdict::good("the LAN page makes its certificate at the first start");
    }
    let remedy = match files {
        Some(_) => {
            "put a valid certificate and its key where [lan] tls_cert and tls_key say; the door takes them up within a day"
        }
        None => "the door makes a new one within a day; browsers ask once more to trust it",
    };
    let days = |time: Duration| time.as_secs() / 86_400;
    match cert::validity(files.unwrap_or(&own), now) {
        Err(error) => Verdict::bad(error.to_string(), remedy),
        Ok(Validity::NotYet(wait)) => Verdict::bad(
            format!("the certificate of the LAN page is valid in {} days only", days(wait)),
            "set the clock, or give one that is valid",
        ),
        Ok(Validity::Over(since)) => Verdict::bad(
            format!("the certificate of the LAN page ended {} days ago", days(since)),
            remedy,
        ),
        Ok(Validity::Left(left)) if left < DUE => Verdict::fair(
            format!("the certificate of the LAN page ends in {} days", days(left)),
            remedy,
        ),
        Ok(Validity::Left(left)) => Verdict::good(format!(
            "the certificate of the LAN page is valid for {} days more",
            days(left)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::verdict::Grade;

    #[test]
    fn the_own_certificate_is_judged_by_its_dates() {
        let folder = tempfile::tempdir().expect("a folder");
        let judge = |now: SystemTime| {
            certificate("0.0.0.0".parse().expect("an address"), None, folder.path(), now)
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_795_690_000);
        assert_eq!(judge(now).grade, Grade::Good, "made at the first start");
        cert::own(folder.path(), &[], &[], now, cert::Unwritable::Refuse).expect("made");
        let day = Duration::from_secs(86_400);
        for (passed, grade) in
            [(0, Grade::Good), (700, Grade::Good), (800, Grade::Fair), (821, Grade::Bad)]
        {
            let verdict = judge(now + day * passed);
            assert_eq!(verdict.grade, grade, "{passed} days: {verdict:?}");
        }
        assert_eq!(judge(UNIX_EPOCH).grade, Grade::Bad, "a clock that was never set");
        std::fs::write(folder.path().join(cert::PAIR_FILE), "rubbish").expect("written");
        assert_eq!(judge(now).grade, Grade::Bad);
        let loopback = certificate("::1".parse().expect("one"), None, folder.path(), now);
        assert_eq!(loopback.grade, Grade::Good);
    }

    #[test]
    fn a_clock_that_is_off_is_fair_and_told_which_way() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        assert_eq!(clock(now).grade, Grade::Good);
        assert!(clock(now + 1e6).words.contains("behind"));
        assert!(clock(now - 1e6).words.contains("ahead of"));
    }
}
