//! intercomd: a video door intercom for Raspberry Pi-class Linux boards.
//!
//! ```text
//!  main ── daemon ──┬── signalling ──┐
//!  (CLI)  (hands)   ├── rtc ──► media│      imports point right and down only
//!         (clerk)   ├── media ───────┼──► config ──► intercom ──► std
//!                   ├── hardware ────┤               (the heart: pure)
//!                   └── service ──► memory
//! ```
//!
//! Start reading at `intercom/call.rs`: what a call is. Then `intercom/mod.rs` for what comes in
//! and goes out, and `daemon.rs` for the one loop around it. `docs/architecture.md` has the rest.

pub mod intercom;

pub mod config;

pub mod hardware;
pub mod hooks;
pub mod media;
pub mod memory;
pub mod rtc;
pub mod service;
pub mod signalling;

mod clerk;
pub mod daemon;
pub mod devices;
pub mod diagnose;
mod errands;
mod hands;
mod herald;
mod household;
mod journal;
mod lines;
mod overview;
mod publisher;
pub mod selftest;
pub mod setup;
