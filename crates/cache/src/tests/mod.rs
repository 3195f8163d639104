//! One module per promise of the crate's manual.

mod clock;
