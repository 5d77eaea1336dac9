//! WHIP (RFC 9725): one POST puts a stream on a media server, one DELETE takes it off again.
//!
//! HTTP and texts only: the connection itself is made by the rtc room, and when there is to be one is the caller's
//! decision. Candidates are not trickled: RFC 9725 leaves that to those who want it, and servers differ.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{LOCATION, RETRY_AFTER};
use hyper::{Method, StatusCode};
use tokio::time::timeout;
use tracing::debug;
use url::Url;

use super::http::{Answer, Ask};
use crate::config::Secret;
use crate::config::names::check_token_url;

/// For an answer to the offer, or to the end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Redirects that are followed (RFC 9725 section 4.5).
const REDIRECTS: usize = 3;
/// Longest answer, in bytes.
const LONGEST: usize = 256 * 1024;
const SDP: &str = "application/sdp";

/// A media server's endpoint. `Debug` of its parts hides what is secret.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `https`, or `http` to this machine.
    pub url: Secret,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// Certificate authorities in PEM, in the place of the system's.
    pub ca_file: Option<PathBuf>,
}

/// A stream that a server has taken.
#[derive(Debug)]
pub struct Session {
    /// The server's answer.
    pub answer: String,
    /// Where it ends, if the server said so.
    resource: Option<Secret>,
}

/// Why a server took nothing. In words for people, without addresses beyond the host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhipError {
    /// Trying again may help, soonest after so long.
    #[error("{host}: {why}")]
    Later {
        /// Which server.
        host: String,
        /// What happened.
        why: String,
        /// How long the server asks to be left alone, if it does.
        pause: Option<Duration>,
    },
    /// Somebody has to change something.
    #[error("{host}: {why}; {remedy}")]
    Refused {
        /// Which server.
        host: String,
        /// What it said.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl Endpoint {
    /// The server's name, for people.
    pub fn host(&self) -> String {
        let url = Url::parse(self.url.expose()).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Offers a stream. Takes 10 s at most.
    ///
    /// # Errors
    /// When the server cannot be reached or does not take it.
    pub async fn publish(&self, offer: &str) -> Result<Session, WhipError> {
        let mut address = self.url.expose().to_owned();
        let asking = async {
            for _ in 0..=REDIRECTS {
                let body = Some((SDP, Bytes::copy_from_slice(offer.as_bytes())));
                let answer = self.ask(Method::POST, body, &address).await?;
                match next(&address, &answer) {
                    Some(there) if self.may_follow(&there) => address = there,
                    Some(_) => {
                        return Err(self
                            .refused("it leads to an address without TLS", "correct the server"));
                    }
                    None => return self.conclude(&address, &answer).await,
                }
            }
            Err(self
                .refused("it leads from one address to the next", "write the final one as whip"))
        };
        timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| Err(self.later("it does not answer", None)))
    }

    /// Takes the stream off again, as far as the server lets itself be told within 10 s.
    ///
    /// # Errors
    /// When it does not: it will notice by itself that nothing comes any more.
    pub async fn end(&self, session: Session) -> Result<(), WhipError> {
        let Some(resource) = session.resource else { return Ok(()) };
        let asking = self.ask(Method::DELETE, None, resource.expose());
        let answer = timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| Err(self.later("it does not answer", None)))?;
        match answer.status {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
            status => {
                Err(self.later(&format!("it does not end the stream: HTTP status {status}"), None))
            }
        }
    }

    async fn ask(
        &self,
        method: Method,
        body: Option<(&'static str, Bytes)>,
        address: &str,
    ) -> Result<Answer, WhipError> {
        let ask = Ask {
            method,
            accept: SDP,
            bearer: self.token.as_ref(),
            body,
            longest: LONGEST,
            ca_file: self.ca_file.as_deref(),
        };
        ask.of(address).await.map_err(|fault| self.later(&fault.words("whip"), None))
    }

    async fn conclude(&self, address: &str, answer: &Answer) -> Result<Session, WhipError> {
        let judged = self.judge(address, answer);
        if judged.is_err()
            && answer.status.is_success()
            && let Some(there) = located(address, answer).filter(|there| self.may_follow(there))
        {
            // It took the stream and says nothing we can use: what it holds for us is in nobody's interest.
            let _ = self.ask(Method::DELETE, None, &there).await;
        }
        judged
    }

    fn judge(&self, address: &str, answer: &Answer) -> Result<Session, WhipError> {
        let status = answer.status;
        match status {
            // Not all servers say 201.
            _ if status.is_success() => {}
            StatusCode::UNAUTHORIZED => {
                return Err(self.refused(&format!("HTTP status {status}"), "check token_file"));
            }
            StatusCode::FORBIDDEN => {
                let remedy = "check token_file, and whether it has another stream in this place";
                return Err(self.refused(&format!("HTTP status {status}"), remedy));
            }
            _ if status.is_redirection() => {
                let remedy = "write the final address as whip";
                return Err(self.refused(&format!("its redirect ({status}) leads nowhere"), remedy));
            }
            // Our own stream of before may still be there, after a power cut for example.
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::CONFLICT
            | StatusCode::LOCKED
            | StatusCode::TOO_EARLY => {
                return Err(self.later(&format!("HTTP status {status}"), None));
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
                return Err(self.refused(&format!("HTTP status {status}"), "check whip"));
            }
            _ if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                let remedy = "see what the server takes: H.264 and Opus are sent";
                return Err(self.refused(&format!("HTTP status {status}"), remedy));
            }
            _ => {
                let pause = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let pause =
                    pause.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
                return Err(self.later(&format!("HTTP status {status}"), pause));
            }
        }
        let text = str::from_utf8(&answer.body).ok().filter(|text| text.starts_with("v=0"));
        let Some(text) = text else {
            return Err(self.refused("its answer is no session description", "check whip"));
        };
        let resource = located(address, answer).filter(|there| self.may_follow(there));
        if resource.is_none() {
            debug!(
                server = self.host(),
                "names no place to end the stream; it has to notice by itself"
            );
        }
        Ok(Session { answer: text.to_owned(), resource: resource.map(Secret::new) })
    }

    /// Whether a server may lead us there with the token: over TLS, or to this machine where the configuration already
    /// names this machine. No server elsewhere reaches what listens on the door itself.
    fn may_follow(&self, address: &str) -> bool {
        let is_https = |address: &str| address.starts_with("https:");
        check_token_url(address).is_ok() && (is_https(address) || !is_https(self.url.expose()))
    }

    fn later(&self, why: &str, pause: Option<Duration>) -> WhipError {
        WhipError::Later { host: self.host(), why: why.to_owned(), pause }
    }

    fn refused(&self, why: &str, remedy: &'static str) -> WhipError {
        WhipError::Refused { host: self.host(), why: why.to_owned(), remedy }
    }
}

/// Where a redirect leads that keeps method and body.
fn next(address: &str, answer: &Answer) -> Option<String> {
    let follows =
        [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT].contains(&answer.status);
    follows.then(|| located(address, answer)).flatten()
}

fn located(address: &str, answer: &Answer) -> Option<String> {
    let location = answer.headers.get(LOCATION)?.to_str().ok()?;
    let base = Url::parse(address).ok()?;
    let mut there = base.join(location).ok()?;
    // A server behind a proxy that ends TLS does not know of it.
    if base.scheme() == "https" && there.scheme() == "http" && base.host() == there.host() {
        let lifted = there.set_scheme("https").and_then(|()| there.set_port(base.port()));
        lifted.ok()?;
    }
    Some(there.into())
}

/// An offer for a server: all candidates in it, nothing asked for in return (RFC 9725 section 4.2), and of codecs what
/// is sent and no other, as a server chooses.
pub fn offer<'c>(sdp: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    let candidates: String = candidates.map(|one| format!("a={one}\r\n")).collect();
    let mut text = String::with_capacity(sdp.len() + candidates.len());
    let mut section = 0;
    let put = |text: &mut String, section: usize| {
        // All media share one transport: what stands in the first section counts for all (RFC 9143 section 9.2).
        if section == 1 {
            text.push_str(&candidates);
            text.push_str("a=end-of-candidates\r\n");
        }
    };
    let others = other_pictures(sdp);
    for line in sdp.lines().filter(|line| !line.starts_with("a=end-of-candidates")) {
        if of_payload(line).is_some_and(|number| others.contains(number)) {
            continue;
        }
        let kept: String;
        let line = match line.strip_prefix("m=video ") {
            None => line,
            Some(rest) => {
                let words = rest.split(' ').enumerate();
                let words = words.filter(|(at, word)| *at < 2 || !others.contains(word));
                let words: Vec<&str> = words.map(|(_, word)| word).collect();
                kept = format!("m=video {}", words.join(" "));
                &kept
            }
        };
        if line.starts_with("m=") {
            put(&mut text, section);
            section += 1;
        }
        text.push_str(if line == "a=sendrecv" { "a=sendonly" } else { line });
        text.push_str("\r\n");
    }
    put(&mut text, section);
    text
}

/// The payload type a line is about (RFC 8866 section 6.6, RFC 4585 section 4.2).
fn of_payload(line: &str) -> Option<&str> {
    let rest = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"]
        .iter()
        .find_map(|attribute| line.strip_prefix(attribute))?;
    rest.split_once(' ').map(|(number, _)| number)
}

/// The payload types of pictures that are not H.264, nor its packets sent again (RFC 4588).
fn other_pictures(sdp: &str) -> BTreeSet<&str> {
    let maps = sdp.lines().filter(|line| line.starts_with("a=rtpmap:") && line.contains(" H264/"));
    let h264: BTreeSet<&str> = maps.filter_map(of_payload).collect();
    let again: BTreeSet<&str> = sdp
        .lines()
        .filter(|line| {
            line.starts_with("a=fmtp:")
                && line.split_once("apt=").is_some_and(|(_, of)| h264.contains(of.trim()))
        })
        .filter_map(of_payload)
        .collect();
    let pictures = sdp.lines().filter_map(|line| line.strip_prefix("m=video "));
    let pictures = pictures.flat_map(|rest| rest.split(' ').skip(2));
    pictures.filter(|number| !h264.contains(number) && !again.contains(number)).collect()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_offer_has_all_candidates_in_its_first_section_and_asks_for_nothing() {
        let sdp = "v=0\r\nm=audio 9 X 111\r\na=sendrecv\r\nm=video 9 X 102\r\na=rtpmap:102 H264/90000\r\na=sendrecv\r\na=mid:1\r\n";
        let made = offer(sdp, ["candidate:1 x", "candidate:2 y"].into_iter());
        assert_eq!(
            made,
            "v=0\r\nm=audio 9 X 111\r\na=sendonly\r\na=candidate:1 x\r\na=candidate:2 y\r\n\
             a=end-of-candidates\r\nm=video 9 X 102\r\na=rtpmap:102 H264/90000\r\na=sendonly\r\na=mid:1\r\n"
        );
        assert_eq!(offer("v=0\r\n", std::iter::empty()), "v=0\r\n");
    }

    /// A server that gives these answers, one for each connection; what it was asked comes back.
    async fn server(
        answers: Vec<&'static str>,
    ) -> (Endpoint, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let at = listener.local_addr().expect("bound");
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let accepting = timeout(PATIENCE, listener.accept()).await;
                let (mut caller, _) = accepting.expect("somebody calls").expect("a caller");
                let mut request = Vec::new();
                let whole = |request: &[u8]| match request.starts_with(b"POST") {
                    true => request.ends_with(b"v=0\r\n"),
                    false => request.ends_with(b"\r\n\r\n"),
                };
                while !whole(&request) {
                    let reading = timeout(PATIENCE, caller.read_u8()).await;
                    let byte = reading.expect("it goes on").expect("a request");
                    request.push(byte);
                }
                asked.push(String::from_utf8(request).expect("text").to_lowercase());
                caller.write_all(answer.as_bytes()).await.expect("it listens");
            }
            asked
        });
        let url = Secret::new(format!("http://{at}/whip?door=1"));
        (Endpoint { url, token: Some(Secret::new("bearer-1")), ca_file: None }, asked)
    }

    #[tokio::test]
    async fn a_stream_is_taken_where_a_redirect_leads_and_ends_where_the_server_said() {
        let (endpoint, asked) = server(vec![
            "HTTP/1.1 307 Temporary\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 201 Created\r\nLocation: made/7\r\nContent-Length: 5\r\n\r\nv=0\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ])
        .await;
        let session = endpoint.publish("v=0\r\n").await.expect("it is taken");
        assert_eq!(session.answer, "v=0\r\n");
        endpoint.end(session).await.expect("it is ended");
        let asked = asked.await.expect("all three came");
        for (request, begins) in
            asked.iter().zip(["post /whip?door=1 ", "post /other ", "delete /made/7 "])
        {
            assert!(request.starts_with(begins), "{request}");
            assert!(request.contains("authorization: bearer bearer-1\r\n"), "{request}");
        }
        assert!(
            asked[1].contains("content-type: application/sdp\r\n") && asked[1].ends_with("v=0\r\n")
        );
    }

    #[tokio::test]
    async fn what_a_server_says_decides_whether_and_when_it_is_asked_again() {
        for (answer, refused, pause) in [
            ("401 Unauthorized\r\nContent-Length: 0", true, None),
            ("404 Not Found\r\nContent-Length: 0", true, None),
            ("406 Not Acceptable\r\nContent-Length: 0", true, None),
            ("201 Created\r\nContent-Length: 2", true, None),
            ("409 Conflict\r\nContent-Length: 0", false, None),
            ("302 x\r\nLocation: /y\r\nContent-Length: 0", true, None),
            ("307 x\r\nLocation: http://media.example/\r\nContent-Length: 0", true, None),
            ("503 Busy\r\nRetry-After: 7\r\nContent-Length: 0", false, Some(7)),
            ("429 Slow\r\nContent-Length: 0", false, None),
            ("500 Broken\r\nContent-Length: 0", false, None),
        ] {
            let body = if answer.starts_with("201") { "no" } else { "" };
            let text: &'static str =
                Box::leak(format!("HTTP/1.1 {answer}\r\n\r\n{body}").into_boxed_str());
            let (endpoint, asked) = server(vec![text]).await;
            match endpoint.publish("v=0\r\n").await.expect_err("it is not taken") {
                WhipError::Refused { .. } => assert!(refused, "{answer}"),
                WhipError::Later { pause: found, .. } => {
                    assert!(!refused, "{answer}");
                    assert_eq!(found, pause.map(Duration::from_secs), "{answer}");
                }
            }
            asked.await.expect("it was asked");
        }
    }

    #[test]
    fn an_offer_names_no_codec_that_is_not_sent() {
        let sdp = "v=0\r\nm=audio 9 X 111\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
            m=video 9 X 102 103 96 97\r\na=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=1\r\n\
            a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\na=rtpmap:96 VP8/90000\r\n\
            a=rtcp-fb:96 nack\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n";
        let made = offer(sdp, std::iter::empty());
        assert!(made.contains("m=video 9 X 102 103\r\n"), "{made}");
        for gone in ["VP8", ":96 ", ":97 "] {
            assert!(!made.contains(gone), "{made}");
        }
        for kept in ["a=rtpmap:111 ", "a=rtcp-fb:111 ", "a=fmtp:103 apt=102", "a=fmtp:102 "] {
            assert!(made.contains(kept), "{kept}: {made}");
        }
    }

    #[test]
    fn a_server_leads_to_no_place_that_does_not_keep_the_token_nor_into_the_door_itself() {
        let at = |url: &str| Endpoint { url: Secret::new(url), token: None, ca_file: None };
        let far = at("https://media.example/whip");
        assert!(far.may_follow("https://other.example/x"));
        assert!(!far.may_follow("http://other.example/x"));
        assert!(!far.may_follow("http://127.0.0.1:9464/x"));
        assert!(at("http://127.0.0.1:1/whip").may_follow("http://127.0.0.1:2/x"));
    }

    #[test]
    fn a_place_named_by_a_server_behind_a_proxy_is_reached_as_the_server_was() {
        let answer = |location: &'static str| Answer {
            status: StatusCode::CREATED,
            headers: [(LOCATION, HeaderValue::from_static(location))].into_iter().collect(),
            body: Bytes::new(),
        };
        let from = "https://media.example:8443/whip";
        for (location, place) in [
            ("/r/1", "https://media.example:8443/r/1"),
            ("http://media.example/r/1", "https://media.example:8443/r/1"),
            ("http://other.example/r/1", "http://other.example/r/1"),
        ] {
            assert_eq!(located(from, &answer(location)).as_deref(), Some(place));
        }
    }

    #[test]
    fn no_debug_shows_the_address_or_the_token() {
        let endpoint = Endpoint {
            url: Secret::new("https://a.example/whip/hunter2"),
            token: Some(Secret::new("hunter3")),
            ca_file: None,
        };
        let shown = format!("{endpoint:?} {}", endpoint.host());
        assert!(!shown.contains("hunter") && shown.ends_with("a.example"), "{shown}");
    }
}
