//! What the service's refusals mean to the person who runs the door: for each code one sentence that says
//! what to change, and how eagerly to try again (protocol.md sections 2.4 and 2.5).
//!
//! Pure tables; nothing here is about bytes or sockets.

/// How eagerly to connect again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The ordinary backoff (protocol.md section 6.2), and at once while somebody is at the door.
    Usual,
    /// The ordinary backoff and never sooner: what we did may have been the reason.
    Wary,
    /// The next delay has a floor: trying sooner makes it worse.
    Slow,
    /// Nothing changes until a person changes something; try rarely and say so.
    Refused,
}

/// What the door shows to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// A publishable key: lasts, and every socket gets a new id (protocol.md section 3.2).
    Key,
    /// Tokens: they expire, and the id stays (protocol.md section 7).
    Token,
}

/// What a failure says about the token that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Open,
    /// It has expired.
    Expired,
    /// It is not accepted.
    Rejected,
}

/// What a key was not allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Enter the channel.
    Subscribe,
    /// See who is in the channel.
    Presence,
    /// Send to one peer.
    Send,
}

impl Action {
    /// The action behind a refused `subscribe`: the service's own words tell whether it was about presence.
    pub fn of_subscribe(message: Option<&str>) -> Self {
        match message {
            Some(words) if words.to_ascii_lowercase().contains("presence") => Self::Presence,
            _ => Self::Subscribe,
        }
    }
}

/// Advice on a close code; `None` is a socket that went without one.
pub fn on_close(code: Option<u16>, pass: Pass) -> (Pace, &'static str) {
    let Some(code) = code else {
        return (
            Pace::Usual,
            "the connection was lost; if this goes on, check the network of the door",
        );
    };
    match code {
        1000 => {
            (Pace::Usual, "the service closed the socket without giving a reason; nothing to do")
        }
        1001 => {
            (Pace::Usual, "the service restarts; nothing to do, the door connects again by itself")
        }
        1005 | 1006 => {
            (Pace::Usual, "the connection was lost; if this goes on, check the network of the door")
        }
        1008 => (
            Pace::Wary,
            "the service saw a policy violation; probably a fault of this program, report it",
        ),
        1009 => (
            Pace::Wary,
            "the service found a frame of ours too big; a fault of this program, report it",
        ),
        4001 if pass == Pass::Token => (Pace::Refused, TOKEN_REJECTED),
        4001 => (
            Pace::Refused,
            "the service does not know this key; copy the publishable key (pk_...) from its dashboard again \
             and check that it was not deleted or limited to certain origins",
        ),
        4002 if pass == Pass::Token => {
            (Pace::Usual, "the token has expired; nothing to do, the door fetches the next one")
        }
        4002 => (
            Pace::Wary,
            "the credential has expired; give the door a publishable key that is valid",
        ),
        4003 => (Pace::Refused, CHANNEL_NOT_AUTHORIZED),
        4010 => (
            Pace::Slow,
            "too many sockets are open at once on this account; close other users of the key or take a \
             larger plan",
        ),
        4011 => (
            Pace::Wary,
            "the door sent faster than the service allows; if this goes on, let fewer people answer in one \
             channel",
        ),
        4012 => (Pace::Refused, ACCOUNT_SUSPENDED),
        4020 => (
            Pace::Refused,
            "an administrator removed this door from the service; ask them, then restart the daemon",
        ),
        _ => (Pace::Usual, "the service closed the socket with a code this program does not know"),
    }
}

/// Advice on an HTTP status in place of the upgrade.
pub fn on_http(status: u16, pass: Pass) -> (Pace, &'static str) {
    match status {
        429 => (
            Pace::Slow,
            "the service counts too many connections from this address; look for other programs that \
             connect in a loop",
        ),
        401 | 403 if pass == Pass::Token => (Pace::Refused, TOKEN_REJECTED),
        401 | 403 => (
            Pace::Refused,
            "the service does not accept this key; copy the publishable key (pk_...) from its dashboard \
             again and check its allowed origins",
        ),
        404 => (
            Pace::Usual,
            "there is no signalling service at this address; check the uplink's address",
        ),
        500..=599 => {
            (Pace::Usual, "the service has trouble of its own; nothing to do, the door tries again")
        }
        _ => (
            Pace::Usual,
            "the address did not answer as a signalling service; check the uplink's address",
        ),
    }
}

/// What a close code says about a token.
pub fn verdict_of_close(code: Option<u16>) -> Verdict {
    match code {
        Some(4001) => Verdict::Rejected,
        Some(4002) => Verdict::Expired,
        _ => Verdict::Open,
    }
}

/// What an error code says about a token.
pub fn verdict_of_error(code: &str) -> Verdict {
    match code {
        "invalid_token" => Verdict::Rejected,
        "token_expired" => Verdict::Expired,
        _ => Verdict::Open,
    }
}

/// Advice on an error code; `action` is what was asked for.
pub fn on_error(code: &str, action: Action) -> &'static str {
    match code {
        "action_not_permitted" => match action {
            Action::Subscribe => {
                "the key lacks subscribe: enable 'subscribe' for this key in the dashboard and in its tokens, else the \
                 door cannot enter the channel"
            }
            Action::Presence => {
                "the key lacks presence: enable 'presence' for this key in the dashboard and in its tokens, else the \
                 door sees nobody in the channel"
            }
            Action::Send => {
                "the key lacks send: enable 'send' for this key in the dashboard and in its tokens, else no \
                 call ever starts"
            }
        },
        "channel_not_authorized" => CHANNEL_NOT_AUTHORIZED,
        "channel_reserved" => {
            "the channel's name belongs to the service; choose one that does not begin with _metered/, \
             _internal/ or _system/"
        }
        "invalid_channel" => {
            "the service does not take the channel's name; use 1 to 256 bytes without control characters"
        }
        "channel_limit_exceeded" => {
            "this socket is in too many channels; a fault of this program, report it"
        }
        "peer_not_found" => "the addressee has left the service; nothing to do",
        "over_message_quota" => {
            "the message quota of the plan is used up, calls cannot be set up; take a larger plan or wait \
             for the next month"
        }
        "backend_error" | "internal_error" => {
            "the service has trouble of its own; nothing to do, the door tries again"
        }
        "account_suspended" => ACCOUNT_SUSPENDED,
        "invalid_token" | "token_expired" => {
            "the service does not accept the key or token any more; copy the publishable key (pk_...) from \
             its dashboard again, or check what makes the tokens"
        }
        "malformed_message" | "unknown_type" | "invalid_peer_id" | "missing_data" => {
            "the service did not understand a frame of ours; a fault of this program, report it"
        }
        _ => "the service refused with a code this program does not know",
    }
}

/// Whether an error to a `subscribe` lasts until a person changes something.
pub fn is_refusal(code: &str) -> bool {
    matches!(
        code,
        "action_not_permitted"
            | "channel_not_authorized"
            | "channel_reserved"
            | "invalid_channel"
            | "account_suspended"
            | "invalid_token"
            | "token_expired"
    )
}

/// Whether the same frame may well pass a moment later.
pub fn is_passing(code: &str) -> bool {
    matches!(code, "backend_error" | "internal_error")
}

const TOKEN_REJECTED: &str = "the service does not accept the door's tokens; check that token_command or token_url signs them \
     with a key of this account that was not deleted";
const CHANNEL_NOT_AUTHORIZED: &str = "the key does not cover this channel; add the channel to the key's patterns in the \
     dashboard (and to the channels of its tokens) or change the channel's name";
const ACCOUNT_SUSPENDED: &str =
    "the account at the service is suspended; see its dashboard or ask its support";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_close_codes_are_refusals_and_no_others_are() {
        for pass in [Pass::Key, Pass::Token] {
            let pace = |code| on_close(code, pass).0;
            for code in [1000, 1001, 1006, 1011, 4999] {
                assert_eq!(pace(Some(code)), Pace::Usual, "{code}");
            }
            for code in [1008, 1009, 4011] {
                assert_eq!(pace(Some(code)), Pace::Wary, "{code}");
            }
            for code in [4001, 4003, 4012, 4020] {
                assert_eq!(pace(Some(code)), Pace::Refused, "{code}");
            }
            assert_eq!(pace(Some(4010)), Pace::Slow);
            assert_eq!(pace(None), Pace::Usual);
        }
    }

    #[test]
    fn http_429_is_slow_and_a_refused_key_is_a_refusal() {
        assert_eq!(on_http(429, Pass::Key).0, Pace::Slow);
        assert_eq!(on_http(401, Pass::Key).0, Pace::Refused);
        assert_eq!(on_http(404, Pass::Key).0, Pace::Usual);
        assert_eq!(on_http(503, Pass::Key).0, Pace::Usual);
    }

    #[test]
    fn a_missing_permission_is_named() {
        for (action, word) in [
            (Action::Subscribe, "'subscribe'"),
            (Action::Presence, "'presence'"),
            (Action::Send, "'send'"),
        ] {
            assert!(on_error("action_not_permitted", action).contains(word));
        }
        assert_eq!(Action::of_subscribe(Some("needs the Presence action")), Action::Presence);
        assert_eq!(Action::of_subscribe(Some("no")), Action::Subscribe);
        assert_eq!(Action::of_subscribe(None), Action::Subscribe);
    }
}
