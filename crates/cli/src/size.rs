//! Sizes, as people write them.

/// The units of sizes, in bytes.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a size with its unit, `64MiB` or `10GB`, in bytes. A bare number is
/// refused: one person's bytes are another's megabytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = unit.trim_start();
    if !number.is_empty() && unit.is_empty() {
        return Err(format!(
            "a size needs a unit, such as {number}MiB or {number}GB"
        ));
    }
    let wrong = || "write a whole number and a unit, as in 64MiB or 10GB".to_owned();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let known = |(name, _): &&(&str, u64)| name.eq_ignore_ascii_case(unit);
    let (_, bytes) = UNITS.iter().find(known).ok_or_else(wrong)?;
    number
        .checked_mul(*bytes)
        .ok_or_else(|| "it is larger than any disk".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let table = [
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("64mib", 64 << 20),
            ("10GB", 10_000_000_000),
            ("1kB", 1_000),
            ("0B", 0),
            ("512B", 512),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn other_sizes_say_how_to_write_them() {
        let table = [
            ("64", "a size needs a unit, such as 64MiB or 64GB"),
            ("", "write a whole number and a unit"),
            ("MiB", "whole number"),
            ("1.5GiB", "whole number"),
            ("-1MiB", "whole number"),
            ("64Mi", "whole number"),
            ("99999999999999999999B", "whole number"),
            ("99999999TiB", "larger than any disk"),
        ];
        for (text, part) in table {
            let error = parse_size(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
