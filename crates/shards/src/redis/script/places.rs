//! Where a listing or a recount goes on: places of HSCAN, as bytes that callers
//! carry about. Whatever they bring back is read; what was never given out is
//! the beginning.

use super::Garbled;
use super::pack::{Reader, Writer};
use crate::machine::Cursor;

const SCAN_LEN: usize = 8;
const KEY_LEN: usize = 24;

/// A place between two steps of HSCAN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ScanPlace(u64);

impl ScanPlace {
    pub(super) fn read(cursor: Option<&Cursor>) -> Self {
        let bytes = cursor.and_then(|cursor| cursor.0.as_slice().try_into().ok());
        Self(bytes.map_or(0, u64::from_be_bytes))
    }

    /// As Redis has it.
    pub(super) fn decimal(self) -> String {
        self.0.to_string()
    }

    fn of(decimal: &[u8]) -> Result<Self, Garbled> {
        let place = std::str::from_utf8(decimal)
            .ok()
            .and_then(|text| text.parse().ok());
        place
            .map(Self)
            .ok_or_else(|| Garbled("no place of a scan".into()))
    }

    /// The answer's place; `None` = that was all.
    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Option<Cursor>, Garbled> {
        let place = from.optional(|from| Self::of(from.text()?))?;
        Ok(place.map(|Self(place)| Cursor(place.to_be_bytes().to_vec())))
    }
}

/// A place of a listing: between two steps, or within one that was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ListPlace {
    step: ScanPlace,
    cut: Option<Cut>,
}

/// Where a step was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// After this record.
    last: [u8; KEY_LEN],
    /// Tells what came up to there from other records; `None`: the step was the
    /// whole hash.
    mark: Option<u64>,
}

/// No sum of the script's: they have 48 bits.
const WHOLE: u64 = u64::MAX;

impl ListPlace {
    pub(super) fn read(cursor: Option<&Cursor>) -> Self {
        cursor
            .and_then(|cursor| Self::parse(&cursor.0))
            .unwrap_or_default()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (step, cut) = bytes.split_first_chunk::<SCAN_LEN>()?;
        let step = ScanPlace(u64::from_be_bytes(*step));
        if cut.is_empty() {
            return Some(Self { step, cut: None });
        }
        let (last, mark) = cut.split_first_chunk::<KEY_LEN>()?;
        let mark = u64::from_be_bytes(mark.try_into().ok()?);
        let mark = (mark != WHOLE).then_some(mark);
        let cut = Some(Cut { last: *last, mark });
        Some(Self { step, cut })
    }

    fn cursor(self) -> Cursor {
        let mut bytes = self.step.0.to_be_bytes().to_vec();
        if let Some(Cut { last, mark }) = self.cut {
            bytes.extend(last);
            bytes.extend(mark.unwrap_or(WHOLE).to_be_bytes());
        }
        Cursor(bytes)
    }

    pub(super) fn write(self, to: &mut Writer) {
        to.text(self.step.decimal().as_bytes());
        to.optional(self.cut.map(|cut| cut.last), |to, last| to.text(&last));
        to.optional(self.cut.and_then(|cut| cut.mark), Writer::count);
    }

    /// The answer's place; `None` = that was all.
    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Option<Cursor>, Garbled> {
        let step = from.optional(|from| ScanPlace::of(from.text()?))?;
        let last = from.optional(Reader::bytes::<KEY_LEN>)?;
        let mark = from.optional(Reader::number)?;
        let cut = last.map(|last| Cut { last, mark });
        Ok(step.map(|step| Self { step, cut }.cursor()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_given() {
        let cuts = [
            None,
            Some(Cut {
                last: [7; 24],
                mark: None,
            }),
            Some(Cut {
                last: [9; 24],
                mark: Some(3),
            }),
        ];
        for cut in cuts {
            let place = ListPlace {
                step: ScanPlace(u64::MAX),
                cut,
            };
            assert_eq!(ListPlace::read(Some(&place.cursor())), place);
        }
    }

    /// Another store's, or nobody's.
    #[test]
    fn what_was_never_given_is_the_beginning() {
        for len in [0, 1, 7, 9, 24, 31, 33, 39, 41, 100] {
            let cursor = Cursor(vec![0xff; len]);
            assert_eq!(ListPlace::read(Some(&cursor)), ListPlace::default());
            assert_eq!(ScanPlace::read(Some(&cursor)), ScanPlace::default());
        }
        assert_eq!(ListPlace::read(None), ListPlace::default());
    }
}
