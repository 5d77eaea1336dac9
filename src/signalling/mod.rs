//! Everything that speaks the signalling service's JSON: the member side towards the service and our own
//! hub, and that hub.
//!
//! Pure: `message`, `inbound`, `envelope` know the bytes; `session` with `membership`, `requests`, `pulse`
//! and `advice` knows what a member does next; `hub` with `request`, `frames`, `bucket` and `knocks` routes between
//! members. Shells: `uplink` owns a member's socket and `token` fetches what it shows, `lan` with `seat` and `page` serves the hub. Nothing
//! here knows SDP, cameras or doors: signals go to the heart, its answers go out.

pub mod advice;
pub mod envelope;
pub mod error;
pub mod hub;
pub mod inbound;
pub mod lan;
pub mod message;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod promises;
pub mod session;
pub mod status;
pub mod timings;
pub mod trial;
pub mod uplink;
pub mod whip;

mod address;
mod backoff;
mod bucket;
mod cert;
mod connect;
mod desk;
mod doorstep;
mod frames;
mod greeted;
mod http;
mod knocks;
mod membership;
mod page;
mod page_words;
mod papers;
mod pulse;
mod request;
mod requests;
mod seat;
mod token;
mod wrong_keys;

pub use cert::KEY_FILE as HUB_KEY_FILE;
pub use membership::MembershipTimes;
pub use pulse::PulseTimes;
