//! intercomd: a video door intercom for Raspberry Pi-class Linux boards.
//!
//! ```text
//!  main ── daemon ──┬── signalling ──┐
//!  (CLI)  (hands)   ├── rtc ──► media│      imports point right and down only
//!                   ├── media ───────┼──► config ──► intercom ──► std
//!                   ├── hardware ────┤               (the heart: pure)
//!                   └── service ─────┘
//! ```
//!
//! Start reading at `intercom/call.rs`: what a call is. Then `intercom/mod.rs` for what comes in
//! and goes out, and `daemon.rs` for the one loop around it. `docs/architecture.md` has the rest.

pub mod intercom;

pub mod config;

pub mod hardware;
pub mod hooks;
pub mod media;
pub mod rtc;
pub mod service;
pub mod signalling;

pub mod daemon;
pub mod devices;
mod hands;
pub mod selftest;
