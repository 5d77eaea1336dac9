//! The table `[hooks.web_push]`: that sleeping browsers are woken, and whom their push services may write to.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::file::Desk;
use super::hooks::{HookEvent, Kinds, Needed, ca_file, kinds, optional};
use super::problem::{At, wrong};
use super::reader::Reader;

/// Browsers that are woken at events (RFC 8030).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebPushHook {
    /// At which events.
    pub on: BTreeSet<HookEvent>,
    /// Whom the operators of push services may write to: `mailto:` or `https:` (RFC 8292 section 2.1).
    pub contact: String,
    /// Certificate authorities of the owner's own, PEM, in place of the system's. For a push service of one's own.
    pub ca_file: Option<PathBuf>,
}

/// What the table says.
pub(super) struct Wishes {
    contact: Needed<String>,
    on: Option<Kinds>,
    ca_file: Option<At<String>>,
}

pub(super) fn read(mut table: Reader<'_>) -> Option<Wishes> {
    let contact = table.text("contact");
    let wishes = Wishes {
        on: table.texts("on"),
        ca_file: table.text("ca_file"),
        contact: Needed::of(contact, &table, "contact"),
    };
    let is_there = table.present().is_some();
    table.finish();
    is_there.then_some(wishes)
}

impl Wishes {
    pub(super) fn settle(self, desk: &Desk<'_>) -> Option<WebPushHook> {
        let fix = "write contact = \"mailto:you@example.org\"";
        let contact = self.contact.take(desk, fix).and_then(|contact| {
            let rest =
                ["mailto:", "https://"].iter().find_map(|head| contact.value.strip_prefix(head));
            let good =
                rest.is_some_and(|rest| rest.len() > 2 && !rest.contains(char::is_whitespace));
            if !good {
                return desk.refused(&contact.place, wrong("is neither mailto: nor https://", fix));
            }
            Some(contact.value)
        });
        // The part of the page that is woken has words for these.
        let shown = [HookEvent::Ring, HookEvent::Answered, HookEvent::Missed];
        let others = HookEvent::ALL.into_iter().filter(|kind| !shown.contains(kind));
        let fix = "leave it out: a sleeping page shows \"ring\", \"answered\" and \"missed\"";
        let others: Vec<(HookEvent, &str)> = others.map(|kind| (kind, fix)).collect();
        let on = match &self.on {
            Some(on) => kinds(desk, on, &others),
            None => Some(BTreeSet::from(shown)),
        };
        let ca_file = optional(self.ca_file, |file| ca_file(desk, &file));
        Some(WebPushHook { on: on?, contact: contact?, ca_file: ca_file? })
    }
}
