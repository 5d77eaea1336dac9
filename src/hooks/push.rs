//! Pushes to phones by way of an ntfy server.
//!
//! A push passes through servers of other people and shows on locked screens: it holds what happened and
//! who did it, never a key. A link is sent only if the owner wrote one.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request};

use super::courier;
use super::error::{Failure, HookError};
use super::event::{Told, What};
use super::outbox::{Closing, Outbox};
use super::picture;
use super::sender::{AGENT, Sender};
use crate::config::PushHook;

/// How long after an event it is still told: a bell that rings on the phone when the visitor is gone
/// only annoys.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the push server until the hooks are closed.
pub(super) async fn run(hook: PushHook, outbox: Arc<Outbox>, mut closing: Closing) {
    let sender = Sender::new(hook.ca_file.clone());
    while let Some(item) = outbox.next(&mut closing).await {
        let tried = deliver(&hook, &sender, &item.what.told).await;
        courier::settle(&outbox, PATIENCE, item, tried);
    }
}

async fn deliver(hook: &PushHook, sender: &Sender, told: &Told) -> Result<(), Failure> {
    let jpeg = match told.what() {
        What::Picture { path } => Some(picture::read(path).await.map_err(Failure::Final)?),
        _ => None,
    };
    let size = jpeg.as_ref().map_or(0, Bytes::len);
    let request = request(hook, &words(told), jpeg).map_err(Failure::Final)?;
    sender.send(request, size).await
}

/// What a push says.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    title: String,
    text: String,
    /// 1 (least) to 5.
    priority: u16,
    /// A name of the server's for a small picture.
    tag: &'static str,
}

fn words(told: &Told) -> Words {
    let by = |name: &Option<String>| match name {
        Some(name) => format!(" by {name}"),
        None => String::new(),
    };
    let (text, priority, tag) = match told.what() {
        What::Ring { again: false } => ("Somebody is at the door".to_owned(), 5, "bell"),
        What::Ring { again: true } => ("Rings again".to_owned(), 5, "bell"),
        What::Answered { name } => (format!("Answered{}", by(name)), 2, "telephone_receiver"),
        // The owner wanted quiet: it is there in the morning, and makes no sound.
        What::Missed { cause: "quiet" } => ("Rang in quiet hours".to_owned(), 1, "zzz"),
        What::Missed { cause } => (format!("Nobody answered ({cause})"), 3, "no_bell"),
        What::Ended { talk_s, answered_by, .. } => {
            (format!("Call ended after {talk_s} s, answered{}", by(answered_by)), 2, "wave")
        }
        What::Opened { by, .. } => (format!("Door opened by {by}"), 3, "unlock"),
        What::OpenRefused { by, why } => {
            (format!("Door not opened for {by} ({why})"), 4, "no_entry")
        }
        What::LookIn { by } => (format!("{by} looks through the camera"), 2, "eye"),
        What::Fault { part, over: false } => (format!("Out of order: {part}"), 4, "warning"),
        What::Fault { part, over: true } => (format!("Works again: {part}"), 2, "white_check_mark"),
        What::Picture { .. } => ("The visitor".to_owned(), 4, "camera"),
    };
    Words { title: told.door.clone(), text, priority, tag }
}

fn request(
    hook: &PushHook,
    words: &Words,
    jpeg: Option<Bytes>,
) -> Result<Request<Full<Bytes>>, HookError> {
    let mut request = Request::builder()
        .uri(hook.url.expose())
        .header(USER_AGENT, AGENT)
        .header("X-Title", header_text(&words.title))
        .header("X-Priority", words.priority)
        .header("X-Tags", words.tag);
    if let Some(token) = &hook.token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
    }
    if let Some(click) = &hook.click {
        request = request.header("X-Click", header_text(click.expose()));
    }
    let body = match jpeg {
        Some(jpeg) => {
            request = request
                .method(Method::PUT)
                .header(CONTENT_TYPE, "image/jpeg")
                .header("X-Filename", "visitor.jpg")
                .header("X-Message", header_text(&words.text));
            jpeg
        }
        None => {
            request =
                request.method(Method::POST).header(CONTENT_TYPE, "text/plain; charset=utf-8");
            Bytes::from(words.text.clone())
        }
    };
    request.body(Full::new(body)).map_err(|_| HookError::NoRequest { what: "url" })
}

/// A text as a header may hold it: as it is, or encoded by RFC 2047, which ntfy reads.
fn header_text(text: &str) -> String {
    if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return text.to_owned();
    }
    format!("=?UTF-8?B?{}?=", STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::hooks::event::Event;

    fn hook() -> PushHook {
        PushHook {
            url: Secret::new("https://ntfy.example/topic"),
            on: std::collections::BTreeSet::new(),
            token: None,
            click: None,
            picture: true,
            ca_file: None,
        }
    }

    fn words_of(what: What) -> Words {
        words(&Event { call: None, at: 0, what }.cleaned("haus/tür"))
    }

    fn header<'a>(request: &'a Request<Full<Bytes>>, name: &str) -> Option<&'a str> {
        request.headers().get(name).map(|value| value.to_str().expect("it is ASCII"))
    }

    #[test]
    fn a_ring_is_louder_than_its_end() {
        let ring = words_of(What::Ring { again: false });
        let missed = words_of(What::Missed { cause: "no-answer" });
        assert_eq!((ring.priority, missed.priority), (5, 3));
        assert_eq!(missed.text, "Nobody answered (no-answer)");
    }

    #[test]
    fn a_push_has_no_link_unless_one_was_written() {
        let words = words_of(What::Ring { again: false });
        let request = request(&hook(), &words, None).expect("it can be made");
        assert_eq!(header(&request, "x-click"), None);
        assert_eq!(request.method(), Method::POST);
        let click = Some(Secret::new("https://door.example/"));
        let with = super::request(&PushHook { click, ..hook() }, &words, None).expect("it can");
        assert_eq!(header(&with, "x-click"), Some("https://door.example/"));
    }

    #[test]
    fn a_title_of_any_letters_fits_into_a_header() {
        let request = request(&hook(), &words_of(What::Ring { again: true }), None);
        let request = request.expect("it can be made");
        assert_eq!(header(&request, "x-title"), Some("=?UTF-8?B?aGF1cy90w7xy?="));
    }

    #[test]
    fn a_picture_is_the_body_and_its_text_a_header() {
        let words = words_of(What::Picture { path: "/x.jpg".into() });
        let jpeg = Bytes::from_static(b"\xff\xd8\xff");
        let request = request(&hook(), &words, Some(jpeg)).expect("it can be made");
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(header(&request, "x-message"), Some("The visitor"));
        assert_eq!(header(&request, "x-filename"), Some("visitor.jpg"));
        assert_eq!(header(&request, "content-type"), Some("image/jpeg"));
    }
}
