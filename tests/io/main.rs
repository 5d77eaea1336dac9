//! Tests that need sockets, pipes or processes; loopback only.

mod turn;
mod uplink;
