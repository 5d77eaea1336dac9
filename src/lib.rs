//! intercomd: a video door intercom for Raspberry Pi-class Linux boards.

pub mod intercom;
pub mod signalling;
