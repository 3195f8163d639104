//! The script against a real redis-server: against the machine, on random
//! histories ([`differential`], [`histories`]); and what the machine knows nothing
//! of: who serves a stripe ([`guard`]), what was lost by hand ([`losses`]), places
//! of a scan ([`pages`]); and what it costs ([`cost`]). The fence in a small model
//! ([`fence`]).
//!
//! All but the last not with the feature `mutants`: they compare with the machine,
//! so each rule that is switched off there would be missed here, whatever else
//! misses it.

#[cfg(not(feature = "mutants"))]
mod cost;
#[cfg(not(feature = "mutants"))]
mod differential;
#[cfg(not(feature = "mutants"))]
mod dump;
mod fence;
#[cfg(not(feature = "mutants"))]
mod guard;
#[cfg(not(feature = "mutants"))]
mod histories;
#[cfg(not(feature = "mutants"))]
mod losses;
#[cfg(not(feature = "mutants"))]
mod pages;
mod sent_once;
#[cfg(not(feature = "mutants"))]
mod server;
#[path = "../../../../../tests/src/redis/mod.rs"]
mod servers;
#[cfg(not(feature = "mutants"))]
mod twice;
