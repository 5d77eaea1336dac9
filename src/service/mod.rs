//! How the daemon lives on a Linux box: its control socket, its word to systemd, its tasks, its log, its
//! network.
//!
//! Nothing here knows about calls, media or wires. The daemon answers the control socket's questions
//! over a channel and sends its events; the words on the socket are `control.rs` and pure.

pub mod control;
pub mod ctl;
mod ctl_words;
pub mod happenings;
pub mod health;
pub mod host;
pub mod logging;
pub mod manual;
pub mod metrics;
pub mod metrics_page;
pub mod network;
pub mod notify;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod promises;
pub mod redact;
pub mod server;
pub mod tasks;
