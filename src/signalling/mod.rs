//! signalling
pub mod message;
