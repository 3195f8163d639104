//! Durations and times, as people write and read them.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Timestamp};

/// The wall clock; only for telling how long ago something was. Every deadline
/// is the store's.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Reads a duration with units: `5m`, `100ms`, `1h30m`, `30d`. A bare number is
/// refused: one person's seconds are another's milliseconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    if text.parse::<f64>().is_ok() {
        return Err(format!(
            "a duration needs a unit, such as {text}s, {text}m or {text}ms"
        ));
    }
    let span: Span = text
        .parse()
        .map_err(|_| "write it like 5m, 100ms, 1h30m or 30d")?;
    // A day is 24 hours. Months and years have no fixed length.
    let signed = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "use units from ns to weeks: months and years have no fixed length")?;
    Duration::try_from(signed).map_err(|_| "a duration cannot be negative".to_owned())
}

/// As [`parse_duration`], but above zero.
pub(crate) fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a time by RFC 3339.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| {
        "write it like 2026-11-27T09:00:00Z or 2026-11-27T10:00:00+01:00, with its offset"
            .to_owned()
    })
}

/// The units of durations, longest first, in nanoseconds.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// All of a duration, such as `1h 30m`.
pub(crate) fn spell(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    let mut parts = Vec::new();
    for (unit, nanos) in UNITS {
        if rest >= nanos {
            parts.push(format!("{}{unit}", rest / nanos));
            rest %= nanos;
        }
    }
    if parts.is_empty() {
        "0s".to_owned()
    } else {
        parts.join(" ")
    }
}

/// The gist of a duration: its longest unit and the next, milliseconds only
/// below a second.
fn gist(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let coarsest = UNITS.iter().position(|(_, unit)| nanos >= *unit);
    // Seconds are fine enough for whatever takes seconds, a millisecond for
    // the rest.
    let finest = match coarsest {
        Some(at) if at <= 2 => UNITS[at + 1].1,
        Some(3) => UNITS[3].1,
        _ => UNITS[4].1,
    };
    let rounded = nanos - nanos % finest;
    spell(Duration::from_nanos(
        u64::try_from(rounded).unwrap_or(u64::MAX),
    ))
}

/// How far `time` is from `now`, such as `in 4m 59s`.
pub(crate) fn relative(time: Timestamp, now: Timestamp) -> String {
    let distance = gist(time.duration_since(now).unsigned_abs());
    if distance == "0s" {
        "now".to_owned()
    } else if time > now {
        format!("in {distance}")
    } else {
        format!("{distance} ago")
    }
}

/// Seconds as protobuf writes durations in JSON: no fraction, or one of 3, 6
/// or 9 digits.
pub(crate) fn json_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration.subsec_nanos() {
        0 => format!("{seconds}s"),
        nanos if nanos % 1_000_000 == 0 => format!("{seconds}.{:03}s", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!("{seconds}.{:06}s", nanos / 1_000),
        nanos => format!("{seconds}.{nanos:09}s"),
    }
}

/// A time of the contract; `None` if it is none that a calendar knows.
pub(crate) fn from_proto(time: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

/// A time for the contract.
pub(crate) fn to_proto(time: Timestamp) -> prost_types::Timestamp {
    let mut proto = prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    };
    // Before 1970 jiff counts fractions backwards, protobuf never does.
    proto.normalize();
    proto
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let table = [
            ("5m", Duration::from_mins(5)),
            ("100ms", Duration::from_millis(100)),
            ("1h30m", Duration::from_mins(90)),
            ("1h 30m", Duration::from_mins(90)),
            ("1.5s", Duration::from_millis(1_500)),
            ("30d", Duration::from_hours(30 * 24)),
            ("2w", Duration::from_hours(14 * 24)),
            ("5 minutes", Duration::from_mins(5)),
            ("0s", Duration::ZERO),
        ];
        for (text, duration) in table {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn other_durations_say_how_to_write_them() {
        let table = [
            (
                "300",
                "a duration needs a unit, such as 300s, 300m or 300ms",
            ),
            ("1.5", "needs a unit"),
            ("0", "needs a unit"),
            ("", "write it like"),
            ("soon", "write it like"),
            ("5 parsecs", "write it like"),
            ("1mo", "no fixed length"),
            ("2y", "no fixed length"),
            ("-5m", "negative"),
        ];
        for (text, part) in table {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(parse_positive_duration("0s").is_err());
    }

    #[test]
    fn times_have_offsets() {
        let utc = parse_time("2026-11-27T09:00:00Z").unwrap();
        assert_eq!(parse_time("2026-11-27T10:00:00+01:00").unwrap(), utc);
        assert_eq!(to_proto(utc).seconds, 1_795_770_000);
        assert_eq!(from_proto(&to_proto(utc)), Some(utc));
        for text in [
            "2026-11-27T09:00:00",
            "2026-11-27",
            "tomorrow",
            "1795770000",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_before_1970_keep_to_protobufs_rule() {
        let time = parse_time("1969-12-31T23:59:59.5Z").unwrap();
        let proto = to_proto(time);
        assert!((0..1_000_000_000).contains(&proto.nanos), "{proto:?}");
        assert_eq!(from_proto(&proto), Some(time));
    }

    #[test]
    fn durations_are_spelled_out() {
        assert_eq!(spell(Duration::from_mins(90)), "1h 30m");
        assert_eq!(spell(Duration::from_millis(100)), "100ms");
        assert_eq!(spell(Duration::from_millis(90_500)), "1m 30s 500ms");
        assert_eq!(spell(Duration::ZERO), "0s");
    }

    #[test]
    fn distances_are_rounded() {
        let now = parse_time("2026-11-27T09:00:00Z").unwrap();
        let table = [
            ("2026-11-27T09:04:59.9Z", "in 4m 59s"),
            ("2026-11-27T09:00:00.1234Z", "in 123ms"),
            ("2026-11-27T09:00:05.1Z", "in 5s"),
            ("2026-11-27T09:00:00.0001Z", "now"),
            ("2026-11-27T06:58:30Z", "2h 1m ago"),
            ("2026-11-20T06:58:30Z", "7d 2h ago"),
        ];
        for (time, expected) in table {
            assert_eq!(relative(parse_time(time).unwrap(), now), expected, "{time}");
        }
    }

    #[test]
    fn durations_in_json_are_protobufs() {
        assert_eq!(json_duration(Duration::from_mins(5)), "300s");
        assert_eq!(json_duration(Duration::from_millis(100)), "0.100s");
        assert_eq!(json_duration(Duration::from_micros(1_000_050)), "1.000050s");
        assert_eq!(json_duration(Duration::from_nanos(1)), "0.000000001s");
    }
}
