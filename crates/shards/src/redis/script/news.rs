//! What a run tells beside its answers: what makes untrue what servers remember.
//! Whoever asked hears all of it by the reply, the others by a message what they
//! cannot do without.

use super::Garbled;
use super::pack::Reader;
use crate::ids::ItemId;
use crate::store::Notice;

/// The only kind of message so far.
const MESSAGE: u64 = 1;

/// News of one run, as its reply has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::redis) struct News {
    /// All of them.
    pub notices: Vec<Notice>,
    /// Whether others were told, or why not; `None`: nothing concerns them.
    pub sent: Option<Result<(), String>>,
}

impl News {
    /// From where the answers end.
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Garbled> {
        if from.is_at_end() {
            return Ok(Self::default());
        }
        Ok(Self {
            notices: read_notices(from)?,
            sent: read_sent(from)?,
        })
    }
}

fn read_sent(from: &mut Reader<'_>) -> Result<Option<Result<(), String>>, Garbled> {
    let mut ahead = *from;
    if let Ok(sent) = ahead.flag() {
        *from = ahead;
        return Ok(sent.then_some(Ok(())));
    }
    Ok(Some(Err(from.string()?)))
}

/// What another server's run told everybody. Whoever has the rights of a server
/// may say anything there: what cannot be read is an error, and nothing worse.
pub(in crate::redis) fn read_message(message: &[u8]) -> Result<Vec<Notice>, Garbled> {
    let mut from = Reader::array(message)?;
    match from.number()? {
        MESSAGE => {
            let notices = read_notices(&mut from)?;
            from.end()?;
            Ok(notices)
        }
        other => Err(Garbled(format!("a message of the kind {other}"))),
    }
}

fn read_notices(from: &mut Reader<'_>) -> Result<Vec<Notice>, Garbled> {
    let mut notices = Vec::new();
    for notice in [Notice::Changed, Notice::Units] {
        for _ in 0..from.array_len()? {
            let item = ItemId::try_from(from.string()?);
            notices.push(notice(
                item.map_err(|_| Garbled("a bad item id".to_owned()))?,
            ));
        }
    }
    Ok(notices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::script::pack::Writer;

    fn ids(ids: &[&str]) -> Writer {
        let mut to = Writer::default();
        for id in ids {
            to.text(id.as_bytes());
        }
        to
    }

    fn message(kind: u64, changed: &[&str], units: &[&str]) -> Vec<u8> {
        let mut to = Writer::default();
        to.count(kind);
        to.nested(&ids(changed));
        to.nested(&ids(units));
        to.finish().to_vec()
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let item = |id| ItemId::parse(id).unwrap();
        assert_eq!(
            read_message(&message(1, &["a", "b"], &["c"])),
            Ok(vec![
                Notice::Changed(item("a")),
                Notice::Changed(item("b")),
                Notice::Units(item("c")),
            ])
        );
        assert_eq!(read_message(&message(1, &[], &[])), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert!(read_message(&message(2, &["a"], &[])).is_err());
        assert!(read_message(&message(1, &["no id"], &[])).is_err());
        assert!(read_message(&message(1, &[""], &[])).is_err());
        let whole = message(1, &["a", "b"], &["c"]);
        for len in 0..whole.len() {
            assert!(read_message(&whole[..len]).is_err(), "{len} bytes of it");
        }
        assert!(read_message(&[&whole[..], &[0]].concat()).is_err());
        // An array that says it is longer than memory.
        assert!(read_message(&[0x93, 1, 0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
        for byte in 0..=u8::MAX {
            let _ = read_message(&[byte; 9]);
        }
    }
}
