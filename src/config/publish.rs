//! `[publish]`: a media server that gets what phones get, for houses with more viewers than a door can serve.

use std::path::PathBuf;

use super::file::Desk;
use super::hooks::{ca_file, optional, refuse_secret, word};
use super::names::{TokenUrlProblem, check_token_url};
use super::problem::{At, wrong};
use super::reader::Reader;
use super::secret::Secret;

/// A media server that takes streams by WHIP (RFC 9725).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishSettings {
    /// Its endpoint, `https` or on this machine; may hold a secret.
    pub whip: Secret,
    /// Sent along as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// Certificate authorities in the place of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
}

/// What the table says.
pub(super) struct Wishes {
    whip: Option<At<String>>,
    token_file: Option<At<String>>,
    ca_file: Option<At<String>>,
}

pub(super) fn read(mut table: Reader<'_>) -> Wishes {
    refuse_secret(&mut table, "token", "token_file");
    let wishes = Wishes {
        whip: table.text("whip"),
        token_file: table.text("token_file"),
        ca_file: table.text("ca_file"),
    };
    table.finish();
    wishes
}

impl Wishes {
    /// Nothing in the outer `Option` when something was refused; `None` in the inner one when nothing is published.
    pub(super) fn settle(self, desk: &Desk<'_>) -> Option<Option<PublishSettings>> {
        let fix = "write whip = \"https://media.example/whip/front-door\"";
        let Some(whip) = self.whip else {
            return match self.token_file.or(self.ca_file) {
                Some(alone) => desk.refused(&alone.place, wrong("stands without whip", fix)),
                None => Some(None),
            };
        };
        let url = match check_token_url(&whip.value) {
            Ok(url) => Some(Secret::new(url)),
            Err(fault) => {
                let what = match fault {
                    TokenUrlProblem::NotAnAddress => "is no address of a server".to_owned(),
                    TokenUrlProblem::NotProtected { host } => {
                        format!("leads to {host} without TLS, which is for this machine only")
                    }
                    TokenUrlProblem::User => "holds a user name; use token_file".to_owned(),
                };
                desk.refused(&whip.place, wrong(what, fix))
            }
        };
        let token = optional(self.token_file, |file| word(desk, &file, "token"));
        let ca_file = optional(self.ca_file, |file| ca_file(desk, &file));
        Some(Some(PublishSettings { whip: url?, token: token?, ca_file: ca_file? }))
    }
}
