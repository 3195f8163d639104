//! Tier 1: what a process remembers.

mod answer;
mod cache;
mod clock;
mod figures;
mod flights;
mod invalidations;
mod limits;
mod memory;
mod shelf;

pub use answer::{Found, Loaded};
pub use cache::Cache;
pub use clock::{Clock, Ticket};
pub use figures::Figures;
pub use limits::{Bound, Limits, Sizes};

#[cfg(test)]
mod tests;
