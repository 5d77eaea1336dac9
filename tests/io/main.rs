//! Tests that need sockets, pipes or processes; loopback only.

mod selftest;
mod turn;
mod uplink;
