//! Whether a request was answered as it may be: by itself, and beside the answer
//! to the same ids sent a second time. Pure, so that its tests can show it every
//! kind of wrong.

use client::{Error, ErrorKind, Ids, Wish};
use proto::v1::{Reservation, ReserveOutcome, ReserveResponse};

/// What a Reserve ended with.
pub(super) type Answer = Result<ReserveResponse, Error>;

/// A request, and what it was answered.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) wish: &'a Wish,
    pub(super) first: &'a Answer,
    /// To the second sending, if there was one.
    pub(super) second: Option<&'a Answer>,
    /// The two were under way together.
    pub(super) at_once: bool,
}

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) units: Units,
    /// Of a request that was sent twice.
    pub(super) pair: Option<Pair>,
    pub(super) wrong: Option<Wrong>,
}

/// What its caller knows of the units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Units {
    /// They are held.
    Granted,
    /// Nothing is.
    None,
    /// It may have been granted: an attempt has no answer.
    Unknown,
}

/// What became of a request that was sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    /// One grant, told twice.
    Equal,
    /// A no to both.
    RefusedTwice,
    /// A no and a yes, each true in its turn: refusals are not recorded.
    OneRefused,
    /// An attempt has no answer.
    Undecided,
    /// As it must not be: see the other part of the verdict.
    Wrong,
}

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// One request, two grants.
    GrantedTwice,
    /// One grant, told in two ways.
    UnequalReplay,
    /// Granted, and then not known any more.
    ReplayRefused,
    /// Ids that nobody ever sent were known already.
    FalseReplay,
    /// A reservation of something that was not asked for.
    NotAskedFor,
}

/// Judges one request.
pub(super) fn judge(case: Case<'_>) -> Verdict {
    let Case { first, second, .. } = case;
    let units = match [Some(first), second].map(units_by) {
        [Units::Granted, _] | [_, Units::Granted] => Units::Granted,
        [Units::Unknown, _] | [_, Units::Unknown] => Units::Unknown,
        [Units::None, Units::None] => Units::None,
    };
    let pair = second.map(|second| pair(case, second));
    let (pair, of_pair) = match pair {
        Some(Ok(pair)) => (Some(pair), None),
        Some(Err(wrong)) => (Some(Pair::Wrong), Some(wrong)),
        None => (None, None),
    };
    Verdict {
        units,
        pair,
        wrong: of_pair.or_else(|| alone(case)),
    }
}

fn units_by(answer: Option<&Answer>) -> Units {
    match answer {
        Some(Ok(reply)) if granted(reply).is_some() => Units::Granted,
        Some(Err(error)) if error.kind() == ErrorKind::OutcomeUnknown => Units::Unknown,
        _ => Units::None,
    }
}

/// The reservation, if the answer is a yes.
fn granted(reply: &ReserveResponse) -> Option<&Reservation> {
    let yes = reply.outcome() == ReserveOutcome::Reserved;
    reply.reservation.as_ref().filter(|_| yes)
}

/// What no answer may be, whatever the other is.
fn alone(case: Case<'_>) -> Option<Wrong> {
    let Case {
        wish,
        first,
        second,
        ..
    } = case;
    let known_too_early = |reply: &ReserveResponse| {
        wish.ids == Ids::NeverSent
            && (reply.replayed || reply.outcome() == ReserveOutcome::AlreadyEnded)
    };
    if first.as_ref().is_ok_and(known_too_early) {
        return Some(Wrong::FalseReplay);
    }
    let not_asked_for = |reply: &ReserveResponse| match (granted(reply), &reply.reservation) {
        (Some(got), _) => {
            got.item_id != wish.key.item_id
                || got.request_id != wish.key.request_id
                || got.quantity != wish.quantity
        }
        // A yes without a reservation.
        (None, None) => reply.outcome() == ReserveOutcome::Reserved,
        (None, Some(_)) => false,
    };
    let mut replies = [Some(first), second].into_iter().flatten().flatten();
    replies.any(not_asked_for).then_some(Wrong::NotAskedFor)
}

/// The two answers to one request.
fn pair(case: Case<'_>, second: &Answer) -> Result<Pair, Wrong> {
    let (Ok(first), Ok(second)) = (case.first, second) else {
        return Ok(Pair::Undecided);
    };
    match (granted(first), granted(second)) {
        (Some(one), Some(other)) if one.reservation_id != other.reservation_id => {
            Err(Wrong::GrantedTwice)
        }
        (Some(_), Some(_)) if !first.replayed && !second.replayed => Err(Wrong::GrantedTwice),
        (Some(_), Some(_)) if first.replayed && second.replayed => Err(Wrong::FalseReplay),
        (Some(one), Some(other)) if same(one, other) => Ok(Pair::Equal),
        (Some(_), Some(_)) => Err(Wrong::UnequalReplay),
        // Its hold has ended meanwhile, which is said of the right reservation.
        (Some(one), None) if ended(second) == Some(one.reservation_id.as_str()) => Ok(Pair::Equal),
        // Under way together, either may have been decided first.
        (Some(_), None) if case.at_once => Ok(Pair::OneRefused),
        (Some(_), None) => Err(Wrong::ReplayRefused),
        (None, Some(_)) => Ok(Pair::OneRefused),
        (None, None) => Ok(Pair::RefusedTwice),
    }
}

/// The id of a reservation that was granted and has ended.
fn ended(reply: &ReserveResponse) -> Option<&str> {
    let ended = reply.outcome() == ReserveOutcome::AlreadyEnded;
    let reservation = reply.reservation.as_ref().filter(|_| ended)?;
    Some(&reservation.reservation_id)
}

/// Equal but for the time that the hold still has.
fn same(one: &Reservation, other: &Reservation) -> bool {
    let timeless = |reservation: &Reservation| Reservation {
        remaining: None,
        ..reservation.clone()
    };
    timeless(one) == timeless(other)
}

#[cfg(test)]
mod tests {
    use proto::v1::{ExplainReserveResponse, ReservationKey, ReservationState};

    use super::*;

    fn wish(ids: Ids) -> Wish {
        let key = ReservationKey {
            item_id: "sneaker".to_owned(),
            buyer_id: "ada".to_owned(),
            request_id: "7".to_owned(),
        };
        Wish {
            key,
            quantity: 2,
            ids,
        }
    }

    fn yes(id: &str, replayed: bool) -> ReserveResponse {
        let reservation = Reservation {
            reservation_id: id.to_owned(),
            item_id: "sneaker".to_owned(),
            request_id: "7".to_owned(),
            quantity: 2,
            state: ReservationState::Held.into(),
            remaining: Some(prost_types::Duration {
                seconds: if replayed { 8 } else { 9 },
                nanos: 0,
            }),
            ..Reservation::default()
        };
        ReserveResponse {
            outcome: ReserveOutcome::Reserved.into(),
            reservation: Some(reservation),
            replayed,
            ..ReserveResponse::default()
        }
    }

    fn no(outcome: ReserveOutcome) -> ReserveResponse {
        ReserveResponse {
            outcome: outcome.into(),
            ..ReserveResponse::default()
        }
    }

    fn error(code: client::Code) -> Error {
        let mut entry = ExplainReserveResponse::default();
        entry.error.get_or_insert_default().code = code as i32;
        Error::of_entry(&entry.error.unwrap())
    }

    /// Of a request that was sent twice.
    fn twice(at_once: bool, first: &Answer, second: &Answer) -> Verdict {
        let ids = if at_once {
            Ids::MaybeSent
        } else {
            Ids::NeverSent
        };
        judge(Case {
            wish: &wish(ids),
            first,
            second: Some(second),
            at_once,
        })
    }

    fn once(first: &Answer) -> Verdict {
        judge(Case {
            wish: &wish(Ids::NeverSent),
            first,
            second: None,
            at_once: false,
        })
    }

    #[test]
    fn what_is_right_is_not_called_wrong() {
        use ReserveOutcome::SoldOut;
        let (fresh, replay) = (Ok(yes("a", false)), Ok(yes("a", true)));
        let refusal = || Ok(no(SoldOut));
        let lost = || Err(error(client::Code::Unavailable));
        let refused = || Err(error(client::Code::NotFound));
        let ended = Ok(ReserveResponse {
            outcome: ReserveOutcome::AlreadyEnded.into(),
            ..yes("a", true)
        });
        let table = [
            (false, &fresh, &replay, Units::Granted, Pair::Equal),
            (true, &fresh, &replay, Units::Granted, Pair::Equal),
            (true, &replay, &fresh, Units::Granted, Pair::Equal),
            (false, &fresh, &ended, Units::Granted, Pair::Equal),
            (
                false,
                &refusal(),
                &refusal(),
                Units::None,
                Pair::RefusedTwice,
            ),
            (false, &refusal(), &fresh, Units::Granted, Pair::OneRefused),
            (true, &fresh, &refusal(), Units::Granted, Pair::OneRefused),
            (false, &lost(), &fresh, Units::Granted, Pair::Undecided),
            (false, &lost(), &replay, Units::Granted, Pair::Undecided),
            (false, &fresh, &lost(), Units::Granted, Pair::Undecided),
            (false, &lost(), &refusal(), Units::Unknown, Pair::Undecided),
            (false, &refused(), &refused(), Units::None, Pair::Undecided),
        ];
        for (at_once, first, second, units, pair) in table {
            let expected = Verdict {
                units,
                pair: Some(pair),
                wrong: None,
            };
            assert_eq!(
                twice(at_once, first, second),
                expected,
                "{first:?} {second:?}"
            );
        }
        for (first, units) in [
            (fresh, Units::Granted),
            (refusal(), Units::None),
            (lost(), Units::Unknown),
            (refused(), Units::None),
        ] {
            let expected = Verdict {
                units,
                pair: None,
                wrong: None,
            };
            assert_eq!(once(&first), expected, "{first:?}");
        }
    }

    #[test]
    fn every_kind_of_wrong_is_seen() {
        let (fresh, replay) = (Ok(yes("a", false)), Ok(yes("a", true)));
        let other = Ok(yes("b", true));
        let refusal = Ok(no(ReserveOutcome::SoldOut));
        let mut later = yes("a", true);
        later.reservation.as_mut().unwrap().expire_time = Some(prost_types::Timestamp::default());
        for (at_once, first, second, wrong) in [
            (false, &fresh, &other, Wrong::GrantedTwice),
            (false, &fresh, &fresh, Wrong::GrantedTwice),
            (true, &fresh, &fresh, Wrong::GrantedTwice),
            (true, &replay, &replay, Wrong::FalseReplay),
            (false, &fresh, &Ok(later), Wrong::UnequalReplay),
            (false, &fresh, &refusal, Wrong::ReplayRefused),
        ] {
            let verdict = twice(at_once, first, second);
            assert_eq!(verdict.wrong, Some(wrong), "{first:?} {second:?}");
            assert_eq!(verdict.pair, Some(Pair::Wrong));
        }
        assert_eq!(once(&replay).wrong, Some(Wrong::FalseReplay));
        let ended = Ok(no(ReserveOutcome::AlreadyEnded));
        assert_eq!(once(&ended).wrong, Some(Wrong::FalseReplay));
        let breaks: [fn(&mut Reservation); 3] = [
            |it| it.item_id.push('s'),
            |it| it.request_id.push('s'),
            |it| it.quantity += 1,
        ];
        for break_it in breaks {
            let mut reply = yes("a", false);
            break_it(reply.reservation.as_mut().unwrap());
            assert_eq!(once(&Ok(reply)).wrong, Some(Wrong::NotAskedFor));
        }
        let empty = Ok(no(ReserveOutcome::Reserved));
        assert_eq!(once(&empty).wrong, Some(Wrong::NotAskedFor));
    }
}
