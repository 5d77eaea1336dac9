//! The heart on virtual time: behaviours of the call, of glare, of recovery, and random operations.

mod access;
mod budget;
mod call;
mod door;
mod glare;
mod look;
mod random_ops;
mod recovery;
mod ring;
mod world;
