//! Tier 1: what a process remembers.

mod clock;

pub use clock::{Clock, Ticket};

#[cfg(test)]
mod tests;
