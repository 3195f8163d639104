//! `MessagePack` as the script's library reads and writes it: text and numbers,
//! true and false, arrays; nothing else, and never nil.

use bytes::Bytes;
use rmp::decode;
use rmp::encode::{self, ByteBuf};

use super::Garbled;
use crate::time::Millis;

/// Lua's numbers are exact up to here; nothing that is stored comes up to it, so
/// an argument beyond it decides as this one does.
const NUMBER_MAX: u64 = 1 << 53;

/// An array that is being written.
#[derive(Default)]
pub(in crate::redis) struct Writer {
    body: ByteBuf,
    len: u32,
}

// Writing to memory cannot fail: the errors are of a type without values.
impl Writer {
    pub(in crate::redis) fn text(&mut self, bytes: &[u8]) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "names, ids and terms, all of them short"
        )]
        let Ok(_) = encode::write_str_len(&mut self.body, bytes.len() as u32);
        self.body.as_mut_vec().extend_from_slice(bytes);
        self.len += 1;
    }

    pub(in crate::redis) fn count(&mut self, number: u64) {
        let Ok(_) = encode::write_uint(&mut self.body, number.min(NUMBER_MAX));
        self.len += 1;
    }

    pub(in crate::redis) fn signed(&mut self, number: i64) {
        let most = NUMBER_MAX.cast_signed();
        let Ok(_) = encode::write_sint(&mut self.body, number.clamp(-most, most));
        self.len += 1;
    }

    pub(in crate::redis) fn flag(&mut self, flag: bool) {
        let Ok(()) = encode::write_bool(&mut self.body, flag);
        self.len += 1;
    }

    /// The value, or false.
    pub(in crate::redis) fn optional<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T),
    ) {
        match value {
            Some(value) => write(self, value),
            None => self.flag(false),
        }
    }

    pub(in crate::redis) fn instant(&mut self, at: Millis) {
        self.signed(at.0);
    }

    /// An array within this one.
    pub(in crate::redis) fn nested(&mut self, array: &Self) {
        self.len_of(array.len);
        self.body
            .as_mut_vec()
            .extend_from_slice(array.body.as_slice());
        self.len += 1;
    }

    fn len_of(&mut self, len: u32) {
        let Ok(_) = encode::write_array_len(&mut self.body, len);
    }

    pub(in crate::redis) fn len(&self) -> u32 {
        self.len
    }

    pub(in crate::redis) fn finish(self) -> Bytes {
        let mut whole = Self::default();
        whole.nested(&self);
        Bytes::from(whole.body.into_vec())
    }
}

/// Values that are being read, one after the other.
#[derive(Clone, Copy)]
pub(in crate::redis) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(in crate::redis) fn alone(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The values of an array that stands alone.
    pub(in crate::redis) fn array(bytes: &'a [u8]) -> Result<Self, Garbled> {
        let mut reader = Self::alone(bytes);
        reader.array_len()?;
        Ok(reader)
    }

    pub(in crate::redis) fn array_len(&mut self) -> Result<u32, Garbled> {
        decode::read_array_len(&mut self.0).map_err(|why| Garbled(format!("no array: {why}")))
    }

    pub(in crate::redis) fn text(&mut self) -> Result<&'a [u8], Garbled> {
        let len =
            decode::read_str_len(&mut self.0).map_err(|why| Garbled(format!("no text: {why}")))?;
        let (text, rest) = self
            .0
            .split_at_checked(len as usize)
            .ok_or_else(|| Garbled("it ends within a text".into()))?;
        self.0 = rest;
        Ok(text)
    }

    pub(in crate::redis) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Garbled> {
        let text = self.text()?;
        text.try_into()
            .map_err(|_| Garbled(format!("{} bytes where there are {N}", text.len())))
    }

    pub(in crate::redis) fn string(&mut self) -> Result<String, Garbled> {
        let text = self.text()?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// A number of any kind that has room for it.
    pub(in crate::redis) fn number<T: TryFrom<i64>>(&mut self) -> Result<T, Garbled> {
        let number: i64 =
            decode::read_int(&mut self.0).map_err(|why| Garbled(format!("no number: {why}")))?;
        T::try_from(number).map_err(|_| Garbled(format!("{number} is out of its range")))
    }

    pub(in crate::redis) fn flag(&mut self) -> Result<bool, Garbled> {
        decode::read_bool(&mut self.0).map_err(|why| Garbled(format!("no flag: {why}")))
    }

    pub(in crate::redis) fn instant(&mut self) -> Result<Millis, Garbled> {
        self.number().map(Millis)
    }

    /// What `read` reads, or false.
    pub(in crate::redis) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Garbled>,
    ) -> Result<Option<T>, Garbled> {
        if self.0.first() == Some(&rmp::Marker::False.to_u8()) {
            self.0 = &self.0[1..];
            return Ok(None);
        }
        read(self).map(Some)
    }

    pub(in crate::redis) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::redis) fn end(self) -> Result<(), Garbled> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Garbled(format!("{} bytes too many", self.0.len())))
    }
}
