//! Who asks for what: drawn from the seed, one generator a caller, so that it
//! does not depend on who is answered first.

use std::sync::Arc;

use client::{Ids, Wish};
use proto::v1::ReservationKey;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use uuid::Builder;

/// What holds for all requests of a run.
#[derive(Debug)]
pub(super) struct Mix {
    pub(super) items: Vec<String>,
    pub(super) quantity: u32,
    /// `None`: every request has a buyer of its own.
    pub(super) buyers: Option<u32>,
    pub(super) duplicates_percent: u32,
    pub(super) seed: u64,
    /// Another one in each run, whatever its seed: ids that were surely never
    /// sent before are told so to the server.
    pub(super) run: [u8; 8],
}

/// Draws the requests of one caller.
pub(super) struct Planner {
    mix: Arc<Mix>,
    random: StdRng,
    caller: u16,
    made: u32,
}

/// What a caller sends before it goes on.
pub(super) struct Round {
    /// The first sending.
    pub(super) wishes: Vec<Wish>,
    /// Places of those that are sent a second time.
    pub(super) again: Vec<usize>,
    /// Whether the second sending does not wait for the first one's answer.
    pub(super) at_once: bool,
}

impl Planner {
    pub(super) fn new(mix: Arc<Mix>, caller: u16) -> Self {
        // The generator's own seeding spreads neighbouring numbers.
        let seed = mix.seed.wrapping_add(u64::from(caller) << 32);
        Self {
            mix,
            random: StdRng::seed_from_u64(seed),
            caller,
            made: 0,
        }
    }

    /// The next `size` requests.
    pub(super) fn round(&mut self, size: usize) -> Round {
        let percent = self.mix.duplicates_percent;
        let at_once = percent > 0 && self.random.random_bool(0.5);
        let mut again = Vec::new();
        let wishes = (0..size).map(|place| {
            let twice = percent > 0 && self.random.random_range(0..100) < percent;
            if twice {
                again.push(place);
            }
            // Of two that are under way together none is surely the first.
            let ids = if twice && at_once {
                Ids::MaybeSent
            } else {
                Ids::NeverSent
            };
            self.wish(ids)
        });
        Round {
            wishes: wishes.collect(),
            again,
            at_once,
        }
    }

    fn wish(&mut self, ids: Ids) -> Wish {
        self.made = self.made.wrapping_add(1);
        let mix = &self.mix;
        let item = match mix.items.len() {
            1 => 0,
            items => self.random.random_range(0..items),
        };
        let buyer_id = if let Some(buyers) = mix.buyers {
            format!("buyer-{}", self.random.random_range(0..buyers))
        } else {
            let run = u64::from_be_bytes(mix.run);
            format!("buyer-{run:016x}-{}-{}", self.caller, self.made)
        };
        let key = ReservationKey {
            item_id: mix.items[item].clone(),
            buyer_id,
            request_id: request_id(mix.run, self.caller, self.made),
        };
        Wish {
            key,
            quantity: mix.quantity,
            ids,
        }
    }
}

impl Round {
    /// What is sent the second time.
    pub(super) fn repeats(&self) -> Vec<Wish> {
        let repeat = |&place: &usize| Wish {
            ids: Ids::MaybeSent,
            ..self.wishes[place].clone()
        };
        self.again.iter().map(repeat).collect()
    }
}

/// A UUID of the kind that anybody may fill (version 8). Two of its bytes take
/// the version and the variant, so nothing of caller and number goes there.
fn request_id(run: [u8; 8], caller: u16, made: u32) -> String {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&run);
    bytes[10..12].copy_from_slice(&caller.to_be_bytes());
    bytes[12..].copy_from_slice(&made.to_be_bytes());
    Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn mix(seed: u64, duplicates_percent: u32, buyers: Option<u32>) -> Arc<Mix> {
        Arc::new(Mix {
            items: vec!["a".to_owned(), "b".to_owned()],
            quantity: 2,
            buyers,
            duplicates_percent,
            seed,
            run: [0xff; 8],
        })
    }

    fn rounds(mix: &Arc<Mix>, caller: u16) -> Vec<Round> {
        let mut planner = Planner::new(Arc::clone(mix), caller);
        (0..100).map(|_| planner.round(3)).collect()
    }

    fn shape(rounds: &[Round]) -> String {
        let one = |r: &Round| format!("{:?} {:?} {}", r.wishes, r.again, r.at_once);
        rounds.iter().map(one).collect()
    }

    #[test]
    fn a_seed_names_a_plan_of_each_caller() {
        let plan = |seed, caller| shape(&rounds(&mix(seed, 30, Some(5)), caller));
        assert_eq!(plan(1, 0), plan(1, 0));
        assert_ne!(plan(1, 0), plan(2, 0));
        let items = |caller| -> Vec<_> {
            let rounds = rounds(&mix(1, 0, None), caller);
            let wishes = rounds.into_iter().flat_map(|round| round.wishes);
            wishes.map(|wish| wish.key.item_id).collect()
        };
        assert_ne!(items(0), items(1), "callers do not move in step");
    }

    #[test]
    fn ids_and_buyers_are_distinct_over_all_callers() {
        let mix = mix(1, 0, None);
        let all: Vec<_> = [0, 1, 9_999]
            .iter()
            .flat_map(|caller| rounds(&mix, *caller))
            .flat_map(|round| round.wishes)
            .collect();
        let ids: BTreeSet<_> = all.iter().map(|wish| &wish.key.request_id).collect();
        let buyers: BTreeSet<_> = all.iter().map(|wish| &wish.key.buyer_id).collect();
        assert_eq!((ids.len(), buyers.len()), (900, 900));
        for id in ids {
            let id = uuid::Uuid::try_parse(id).unwrap();
            assert_eq!(id.get_version_num(), 8);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        }
    }

    #[test]
    fn duplicates_have_equal_ids_and_are_as_many_as_asked_for() {
        for (percent, expected) in [(0, 0..=0), (30, 60..=120), (100, 300..=300)] {
            let rounds = rounds(&mix(1, percent, None), 0);
            let sent: usize = rounds.iter().map(|round| round.again.len()).sum();
            assert!(expected.contains(&sent), "{percent}: {sent}");
            for round in &rounds {
                let repeats = round.repeats();
                assert_eq!(repeats.len(), round.again.len());
                for (place, repeat) in round.again.iter().zip(repeats) {
                    let first = &round.wishes[*place];
                    assert_eq!((&first.key, first.quantity), (&repeat.key, repeat.quantity));
                    assert_eq!(repeat.ids, Ids::MaybeSent);
                    assert_eq!(first.ids == Ids::MaybeSent, round.at_once);
                }
            }
            let some = |at_once| rounds.iter().any(|round| round.at_once == at_once);
            assert!(percent == 0 || (some(true) && some(false)));
        }
    }

    #[test]
    fn buyers_come_back_if_there_are_few() {
        let rounds = rounds(&mix(1, 0, Some(5)), 0);
        let wishes = rounds.iter().flat_map(|round| &round.wishes);
        let buyers: BTreeSet<_> = wishes.map(|wish| &wish.key.buyer_id).collect();
        assert_eq!(buyers.len(), 5);
    }
}
