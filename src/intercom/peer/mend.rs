//! What is done about a peer's link: remedies of the ladder, steps of the negotiation, new links.
//!
//! Decides nothing by itself; `recovery` and `negotiation` have.

use super::{Link, Peer, Servers};
use crate::intercom::act::{Act, Context};
use crate::intercom::negotiation::{Negotiation, Step};
use crate::intercom::recovery::{CANDIDATE_TIMEOUT, Futile, Remedy};
use crate::intercom::{Health, VideoMode, Why};

impl Peer {
    /// The uplink has other ICE servers, or other credentials for them.
    pub fn configure(&mut self, cx: &mut Context<'_>) {
        let Some(link) = self.link.as_mut() else { return };
        cx.acts.push(Act::Configure(link.generation));
        let relayed = link.path.as_ref().is_some_and(|path| path.relayed);
        if relayed && link.health == Health::Connected {
            if self.recovery.is_held() {
                // Who we are now to the peer is not known yet. An offer of this link that left under a new id would be
                // taken for the first of a new one, and stand in the way of that.
                link.servers = Servers::Outdated;
                return;
            }
            // The relay of the old credentials ends with them; a restart moves over without a gap.
            let mut steps = Vec::new();
            link.negotiation.want_offer(true, &mut steps);
            self.carry_out(cx, steps);
        }
    }

    pub(super) fn useless(&mut self, cx: &mut Context<'_>, futile: Futile) {
        let why = match futile {
            Futile::Unanswered => Why::NoAnswer,
            Futile::Broken => Why::Broken,
        };
        if let Some(remedy) = self.recovery.useless(cx.now, futile) {
            self.remedy(cx, remedy, why);
        }
    }

    pub(super) fn remedy(&mut self, cx: &mut Context<'_>, remedy: Remedy, why: Why) {
        match remedy {
            Remedy::Restart
                if self.link.as_ref().is_some_and(|link| link.negotiation.awaits_answer()) =>
            {
                self.rebuild(cx, Why::NoAnswer, None);
            }
            Remedy::Restart => {
                let mut steps = Vec::new();
                if let Some(link) = self.link.as_mut() {
                    link.negotiation.want_offer(true, &mut steps);
                }
                self.carry_out(cx, steps);
            }
            Remedy::Rebuild => self.rebuild(cx, why, None),
            Remedy::Rejoin => cx.acts.push(Act::Rejoin),
            Remedy::Retry => cx.acts.push(Act::Retry),
            Remedy::GiveUp => {
                self.close(cx);
                cx.acts.push(Act::GaveUp);
            }
        }
    }

    pub(super) fn carry_out(&mut self, cx: &mut Context<'_>, steps: Vec<Step>) {
        for step in steps {
            let Some(link) = self.link.as_mut() else { return };
            match step {
                Step::Link(command) => cx.acts.push(Act::Link(link.generation, command)),
                Step::Send(what) => cx.acts.push(Act::Send(what)),
                Step::Applied { trickles } => {
                    if trickles && link.health == Health::Connecting {
                        link.candidates_due = Some(cx.now + CANDIDATE_TIMEOUT);
                    }
                }
                // What still flows ends in a moment: the peer has turned to a link that is not there any more,
                // and an ICE restart would offer it keys that both sides have thrown away (RFC 8842 section 5.5).
                // A late word of a connection it had before changes nothing while the present one works.
                Step::Mismatched { same_connection }
                    if same_connection || link.health != Health::Connected =>
                {
                    self.recovery.restarted(cx.now);
                    return self.rebuild(cx, Why::Mismatched, None);
                }
                Step::Mismatched { .. } | Step::Ignored => cx.acts.push(Act::Ignored),
                Step::Rebuild(Why::Broken, offer) => {
                    match self.recovery.useless(cx.now, Futile::Broken) {
                        Some(Remedy::Rebuild) => self.rebuild(cx, Why::Broken, offer),
                        Some(remedy) => self.remedy(cx, remedy, Why::Broken),
                        None => {}
                    }
                    return;
                }
                Step::Rebuild(why, offer) => {
                    self.recovery.restarted(cx.now);
                    self.rebuild(cx, why, offer);
                    return;
                }
            }
        }
    }

    pub(super) fn rebuild(&mut self, cx: &mut Context<'_>, why: Why, offer: Option<String>) {
        let heritage = self.link.as_mut().map(|link| link.negotiation.hand_over());
        self.build(cx);
        let Some(link) = self.link.as_mut() else { return };
        cx.acts.push(Act::Rebuilt(link.generation, why));
        link.negotiation.inherit(heritage.unwrap_or_default(), offer.is_some());
        match offer {
            None => self.wakeup(cx),
            Some(sdp) => {
                let mut steps = Vec::new();
                link.negotiation.remote_offer(sdp, &mut steps);
                self.carry_out(cx, steps);
            }
        }
    }

    pub(super) fn build(&mut self, cx: &mut Context<'_>) {
        self.close(cx);
        *cx.generations += 1;
        self.sends_media = false;
        self.video = VideoMode::Full;
        self.link = Some(Link {
            generation: *cx.generations,
            negotiation: Negotiation::new(cx.now, self.role),
            health: Health::Connecting,
            candidates_due: None,
            path: None,
            servers: Servers::Present,
        });
        cx.acts.push(Act::Open(*cx.generations));
    }
}
