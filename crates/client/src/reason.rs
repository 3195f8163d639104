//! The reasons that Holdfast's errors carry (`google.rpc.ErrorInfo`). A newer
//! server may send others.

/// The domain of Holdfast's reasons; those of other domains are not ours.
pub const DOMAIN: &str = "holdfast";

/// A field of the request breaks its rule: see [`crate::Error::violations`].
pub const FIELD_INVALID: &str = "FIELD_INVALID";

/// There is no such item.
pub const ITEM_NOT_FOUND: &str = "ITEM_NOT_FOUND";
/// There is no such reservation, or it was purged.
pub const RESERVATION_NOT_FOUND: &str = "RESERVATION_NOT_FOUND";

/// These ids were sent before with other contents.
pub const REQUEST_ID_REUSED: &str = "REQUEST_ID_REUSED";
/// The item exists, with other contents.
pub const ITEM_EXISTS: &str = "ITEM_EXISTS";

/// The units are still held.
pub const RESERVATION_HELD: &str = "RESERVATION_HELD";
/// The units are sold.
pub const RESERVATION_CONFIRMED: &str = "RESERVATION_CONFIRMED";
/// The hold's deadline has passed.
pub const RESERVATION_EXPIRED: &str = "RESERVATION_EXPIRED";
/// The reservation was cancelled.
pub const RESERVATION_CANCELLED: &str = "RESERVATION_CANCELLED";
/// The hold expired, and a late Confirm found no units.
pub const RESERVATION_LOST: &str = "RESERVATION_LOST";
/// The hold would outlive the item's `max_hold`; `max_hold_for` tells how long
/// it may last.
pub const HOLD_TOO_LONG: &str = "HOLD_TOO_LONG";
/// More units than are left of the reservation.
pub const RETURN_TOO_LARGE: &str = "RETURN_TOO_LARGE";
/// The item's settings changed meanwhile.
pub const VERSION_MISMATCH: &str = "VERSION_MISMATCH";
/// The item's stock changed meanwhile.
pub const TOTAL_MISMATCH: &str = "TOTAL_MISMATCH";
/// Fewer units are available than were to be taken.
pub const NOT_ENOUGH_AVAILABLE: &str = "NOT_ENOUGH_AVAILABLE";
/// The item was created without a limit and never counted its buyers.
pub const LIMIT_NOT_TRACKED: &str = "LIMIT_NOT_TRACKED";
/// Units of the item are held.
pub const UNITS_HELD: &str = "UNITS_HELD";
/// The item is being deleted.
pub const ITEM_DELETING: &str = "ITEM_DELETING";
/// The item's sale is closed for good.
pub const ITEM_CLOSED: &str = "ITEM_CLOSED";
/// The stripe is frozen for another reason than the one named.
pub const FREEZE_ID_MISMATCH: &str = "FREEZE_ID_MISMATCH";

/// The store did not take the attempt; nothing was done.
pub const STORE_UNAVAILABLE: &str = "STORE_UNAVAILABLE";
/// The store took the attempt and did not answer; it may have been done.
pub const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";
/// The clocks of server and store are too far apart; nothing was done.
pub const CLOCK_SKEW: &str = "CLOCK_SKEW";
/// Part of the store waits for an operator; trying again does not help.
pub const DATA_LOSS_SUSPECTED: &str = "DATA_LOSS_SUSPECTED";
/// The server is leaving; nothing was done.
pub const DRAINING: &str = "DRAINING";
/// The server shed the attempt before any work.
pub const OVERLOADED: &str = "OVERLOADED";
/// The store is nearly full; trying again does not help.
pub const STORE_FULL: &str = "STORE_FULL";
/// The deadline passed before the attempt went to the store; nothing was done.
pub const DEADLINE_TOO_SHORT: &str = "DEADLINE_TOO_SHORT";

/// The call needs credentials.
pub const CREDENTIALS_REQUIRED: &str = "CREDENTIALS_REQUIRED";
/// The credentials do not allow the call.
pub const ROLE_REQUIRED: &str = "ROLE_REQUIRED";
