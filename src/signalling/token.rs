//! Where the door's tokens come from: a command of the owner's, or an address on the owner's server
//! (protocol.md section 7).
//!
//! Shell. It asks once per call and keeps nothing; when to ask is the session's decision. No token, no
//! bearer and no address with its query appears in any error or log.

use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;
use tracing::debug;
use url::Url;

use super::error::SignallingError;
use super::http::Ask;
use crate::config::Secret;

/// Longest token, and longest answer that may hold one, in bytes.
const LONGEST: usize = 16 * 1024;
/// How long a source may take (protocol.md section 8).
const PATIENCE: Duration = Duration::from_secs(10);
/// All of the environment a command gets.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes of a command's complaint that are read, and characters that are shown.
const COMPLAINT: u64 = 4096;
const SHOWN: usize = 200;

/// A token. Its `Debug` prints dots.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(Arc<str>);

impl Token {
    /// Takes what a source wrote, if it can be a token.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("it is empty; write the token and nothing else".to_owned());
        }
        if text.len() > LONGEST {
            return Err(format!(
                "it is longer than {LONGEST} bytes; write the token and nothing else"
            ));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "it holds characters no token has; write the token and nothing else".to_owned()
            );
        }
        Ok(Self(text.into()))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

/// Where tokens come from.
#[derive(Clone)]
pub enum TokenSource {
    /// A program and its arguments, run without a shell. The first line it writes is the token.
    Command(Vec<String>),
    /// Asked by `POST`. Answers with the token as plain text, or with a JSON object whose `token` it is.
    Url {
        /// `https`, or `http` to this machine; checked by `config::names::check_token_url`.
        url: String,
        /// Sent as `Authorization: Bearer`.
        bearer: Option<Secret>,
    },
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSource({})", self.name())
    }
}

impl TokenSource {
    /// What to call it in messages: the program, or the host.
    fn name(&self) -> String {
        match self {
            Self::Command(words) => words.first().cloned().unwrap_or_default(),
            Self::Url { url, .. } => Url::parse(url)
                .ok()
                .and_then(|url| Some(url.host_str()?.to_owned()))
                .unwrap_or_else(|| "token_url".to_owned()),
        }
    }

    /// Asks for a token, for 10 s at most.
    pub(super) async fn fetch(&self) -> Result<Token, SignallingError> {
        debug!(from = self.name(), "asks for a token");
        let asked = timeout(PATIENCE, async {
            match self {
                Self::Command(words) => run(words).await,
                Self::Url { url, bearer } => ask(url, bearer.as_ref()).await,
            }
        });
        let reason = match asked.await {
            Ok(Ok(token)) => return Ok(token),
            Ok(Err(reason)) => reason,
            Err(_) => format!("it took longer than {} s", PATIENCE.as_secs()),
        };
        Err(SignallingError::NoToken { from: self.name(), reason })
    }
}

async fn run(words: &[String]) -> Result<Token, String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("the command is empty".to_owned());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}; correct token_command"))?;
    let _family = Family::of(&child);
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("its output cannot be read".to_owned());
    };
    let (line, complaint, status) =
        tokio::join!(first_line(stdout), complaint(stderr), child.wait());
    judge(&line, &complaint, status.ok())
}

/// The command and all it has started; they end with it, so that a hanging download leaves nothing behind.
struct Family(Option<Pid>);

impl Family {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // All gone already is the usual case.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// The first line, or as much of it as is too long already. Reads to the end, so that the command never
/// waits for us.
async fn first_line(mut stdout: ChildStdout) -> Vec<u8> {
    let mut head = Vec::new();
    // What cannot be read counts as not written.
    let _ = (&mut stdout).take(LONGEST as u64 + 2).read_to_end(&mut head).await;
    let _ = tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await;
    if let Some(end) = head.iter().position(|byte| *byte == b'\n') {
        head.truncate(end);
    }
    head
}

async fn complaint(mut stderr: ChildStderr) -> String {
    let mut head = Vec::new();
    let _ = (&mut stderr).take(COMPLAINT).read_to_end(&mut head).await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned()
}

fn judge(line: &[u8], complaint: &str, status: Option<ExitStatus>) -> Result<Token, String> {
    let line = String::from_utf8_lossy(line);
    let shown = harmless(complaint, line.trim());
    let said = if shown.is_empty() { String::new() } else { format!("; it says: {shown}") };
    match status {
        Some(status) if status.success() => {
            Token::read(&line).map_err(|fault| format!("what it wrote is no token: {fault}{said}"))
        }
        Some(status) => Err(format!("it failed ({status}){said}")),
        None => Err(format!("it is not known how it ended{said}")),
    }
}

/// A command's complaint without what may be a token: its own output, and anything that looks like a JWT.
fn harmless(complaint: &str, output: &str) -> String {
    let hidden = |word: &str| word.contains("eyJ") || (!output.is_empty() && word.contains(output));
    let words = complaint.split_whitespace().map(|word| if hidden(word) { "..." } else { word });
    let text = words.collect::<Vec<_>>().join(" ");
    text.chars().filter(|letter| !letter.is_control()).take(SHOWN).collect()
}

async fn ask(address: &str, bearer: Option<&Secret>) -> Result<Token, String> {
    let ask = Ask {
        method: Method::POST,
        accept: "application/json, text/plain",
        bearer,
        body: None,
        longest: LONGEST,
        ca_file: None,
    };
    let answer = ask.of(address).await.map_err(|fault| fault.words("token_url"))?;
    match answer.status {
        status if status.is_redirection() => Err(format!(
            "it answered with HTTP status {status}; redirects are not followed, write the final \
             address as token_url"
        )),
        status if !status.is_success() => Err(format!(
            "it answered with HTTP status {status}; check token_url and token_bearer_file"
        )),
        _ => read_answer(&answer.body),
    }
}

/// A JSON object with `token`, or the token itself.
fn read_answer(body: &[u8]) -> Result<Token, String> {
    let text = str::from_utf8(body).map_err(|_| "its answer is no text".to_owned())?;
    let read = if text.trim_start().starts_with('{') {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|_| "its answer is not JSON".to_owned())?;
        let token = value.get("token").and_then(serde_json::Value::as_str);
        let token = token.ok_or("its answer holds no text \"token\"".to_owned())?;
        Token::read(token)
    } else {
        Token::read(text)
    };
    read.map_err(|fault| format!("its answer holds no token: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";

    fn shell(script: &str) -> TokenSource {
        TokenSource::Command(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
    }

    async fn refusal(source: TokenSource) -> String {
        let error = source.fetch().await.expect_err("there is no token").to_string();
        assert!(!error.contains("eyJ"), "{error}");
        error
    }

    #[tokio::test]
    async fn the_first_line_of_a_command_is_the_token() {
        let source = shell(&format!("echo ' {TOKEN}'; echo more; echo words >&2"));
        assert_eq!(source.fetch().await.expect("a token").expose(), TOKEN);
    }

    #[tokio::test]
    async fn a_command_gets_no_environment_but_the_path() {
        // The shell adds some of its own.
        let source = shell("env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | tr -d '\\n'");
        let token = source.fetch().await.expect("one word");
        assert_eq!(token.expose(), format!("PATH={PATH}"));
    }

    #[tokio::test]
    async fn what_a_command_has_started_ends_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let note = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", note.display());
        let source = shell(&script);
        let fetching = tokio::spawn(async move { source.fetch().await.map(|_| ()) });
        let until = async |there: &dyn Fn() -> bool| {
            let soon = async {
                while !there() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(20), soon).await.expect("it happens soon");
        };
        let started = || std::fs::read_to_string(&note).unwrap_or_default().trim().to_owned();
        until(&|| !started().is_empty()).await;
        let stat = format!("/proc/{}/stat", started());
        fetching.abort();
        // Whoever takes in orphans may leave it as a zombie for a while.
        until(&|| std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))).await;
    }

    #[tokio::test]
    async fn a_failing_command_is_quoted_without_its_token() {
        let error = refusal(shell(&format!("echo {TOKEN}; echo no {TOKEN} key >&2; exit 3"))).await;
        assert!(error.contains("/bin/sh"), "{error}");
        assert!(error.contains("exit status: 3") && error.contains("no ... key"), "{error}");
        let error = refusal(shell("echo plain-secret; echo plain-secret >&2; exit 1")).await;
        assert!(!error.contains("plain-secret"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_token_is_refused() {
        assert!(refusal(shell("true")).await.contains("empty"));
        assert!(refusal(shell("echo two words")).await.contains("characters"));
        assert!(refusal(shell("head -c 20000 /dev/zero | tr '\\0' x")).await.contains("longer"));
        let nowhere = TokenSource::Command(vec!["/nowhere/door-token".into()]);
        assert!(refusal(nowhere).await.contains("cannot be started"));
    }

    #[tokio::test]
    async fn a_command_that_floods_both_pipes_still_ends() {
        let source =
            shell(&format!("echo {TOKEN}; head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"));
        assert_eq!(source.fetch().await.expect("a token").expose(), TOKEN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_hangs_is_ended_after_ten_seconds() {
        assert!(refusal(shell("exec sleep 600")).await.contains("longer than 10 s"));
    }

    #[test]
    fn answers_are_json_or_plain_text() {
        let token =
            |body: &str| read_answer(body.as_bytes()).map(|token| token.expose().to_owned());
        let json = format!("{{\"token\": \"{TOKEN}\", \"expiresAt\": 5}}");
        assert_eq!(token(&json), Ok(TOKEN.to_owned()));
        assert_eq!(token(&format!("{TOKEN}\n")), Ok(TOKEN.to_owned()));
        for bad in ["", "{}", "{\"token\":5}", "{\"token\":\"a b\"}", "{", "<html> </html>"] {
            assert!(token(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_source_shows_neither_query_nor_bearer() {
        let url = "https://owner.example/door?password=hunter2".to_owned();
        let shown = format!("{:?}", TokenSource::Url { url, bearer: Some(Secret::new("hunter3")) });
        assert_eq!(shown, "TokenSource(owner.example)");
    }
}
