//! Values for the fields of requests: mostly such that something happens, and
//! now and then what no caller in its right mind would send.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use client::Target;
use prost_types::{Duration, Timestamp};
use proto::v1::{Reservation, ReservationKey};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use uuid::Builder;

/// How many of the last reservations, tokens and request ids are drawn again.
const KNOWN_MAX: usize = 256;
/// Items that are made and deleted while it goes on.
const SCRATCH: u32 = 24;
/// Buyers that come again.
const REGULARS: u32 = 40;

/// What callers learned from replies, and ask about again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(Arc<Mutex<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    reservations: VecDeque<(String, ReservationKey)>,
    requests: VecDeque<String>,
    tokens: VecDeque<String>,
}

fn push<T>(all: &mut VecDeque<T>, new: T) {
    all.push_back(new);
    if all.len() > KNOWN_MAX {
        all.pop_front();
    }
}

impl Known {
    pub(crate) fn reservation(&self, reservation: &Reservation, key: &ReservationKey) {
        let known = (reservation.reservation_id.clone(), key.clone());
        push(&mut self.0.lock().unwrap().reservations, known);
    }

    pub(crate) fn token(&self, token: &str) {
        push(&mut self.0.lock().unwrap().tokens, token.to_owned());
    }
}

/// Draws.
#[derive(Debug)]
pub(crate) struct Draw {
    pub rng: StdRng,
    pub known: Known,
    /// Items that live as long as the server.
    items: Arc<[String]>,
}

impl Draw {
    pub(crate) fn new(seed: u64, known: Known, items: Arc<[String]>) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            known,
            items,
        }
    }

    /// True so often of a hundred times.
    pub(crate) fn percent(&mut self, times: u32) -> bool {
        self.rng.random_range(0..100) < times
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.rng.random()
    }

    pub(crate) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all.choose(&mut self.rng).expect("there is one").clone()
    }

    /// Text that may be anything.
    pub(crate) fn text(&mut self) -> String {
        match self.rng.random_range(0..24) {
            0..3 => String::new(),
            3..6 => "plain".into(),
            6 => "x".repeat(128),
            7 => "x".repeat(129),
            8 => "x".repeat(256),
            9 => "x".repeat(257),
            10 => "é".repeat(64),
            11 => "🦀".repeat(33),
            12 => "a\u{0}b".into(),
            13 => "line\r\nfeed\u{85}".into(),
            14 => "\u{202e}thgir\u{feff}".into(),
            15 => "e\u{301}\u{1f468}\u{200d}\u{1f469}".into(),
            16 => "{item}:0".into(),
            17 => "../../etc/passwd%00".into(),
            18 => "'; DROP TABLE rows; --".into(),
            19 => "x".repeat(self.rng.random_range(1_000..70_000)),
            20 if self.percent(2) => "x".repeat((1 << 20) + 1),
            _ => {
                let len = self.rng.random_range(0..40);
                (0..len).map(|_| self.rng.random::<char>()).collect()
            }
        }
    }

    /// An item that is there nearly always.
    pub(crate) fn real_item(&mut self) -> String {
        let items = Arc::clone(&self.items);
        self.one_of(&items)
    }

    /// An item that comes and goes.
    pub(crate) fn scratch_item(&mut self) -> String {
        format!("scratch-{}", self.rng.random_range(0..SCRATCH))
    }

    pub(crate) fn item(&mut self) -> String {
        match self.rng.random_range(0..100) {
            0..75 => self.real_item(),
            75..88 => self.scratch_item(),
            88..90 => "never-made".into(),
            90..94 => self.one_of(&[".", "::", "-_-", "A", "0"]).into(),
            94 => "i".repeat(128),
            95 => "i".repeat(129),
            _ => self.text(),
        }
    }

    pub(crate) fn buyer(&mut self) -> String {
        match self.rng.random_range(0..100) {
            0..60 => format!("regular-{}", self.rng.random_range(0..REGULARS)),
            60..90 => format!("buyer-{:016x}", self.rng.random::<u64>()),
            _ => self.text(),
        }
    }

    fn fresh_id(&mut self) -> String {
        let id = Builder::from_random_bytes(self.rng.random()).into_uuid();
        let id = id.hyphenated().to_string();
        push(&mut self.known.0.lock().unwrap().requests, id.clone());
        id
    }

    fn id_sent_before(&mut self) -> String {
        let ring = Arc::clone(&self.known.0);
        let all = ring.lock().unwrap();
        match all.requests.len() {
            0 => "018f4e6a-3c1d-7b2a-9f00-000000000001".into(),
            len => all.requests[self.rng.random_range(0..len)].clone(),
        }
    }

    /// A request id.
    pub(crate) fn id(&mut self) -> String {
        match self.rng.random_range(0..100) {
            0..65 => self.fresh_id(),
            65..80 => self.id_sent_before(),
            80..86 => self.id_sent_before().to_uppercase(),
            86 => format!("{{{}}}", self.fresh_id()),
            87 => format!("urn:uuid:{}", self.fresh_id()),
            88 => self.fresh_id().replace('-', ""),
            89 => "00000000-0000-0000-0000-000000000000".into(),
            90 => "ffffffff-ffff-ffff-ffff-ffffffffffff".into(),
            91 => self.fresh_id()[1..].into(),
            92 => format!(" {}", self.fresh_id()),
            93 => self.fresh_id().replace('-', "‐"),
            94 => "0".repeat(36),
            95 => "-".repeat(36),
            _ => self.text(),
        }
    }

    pub(crate) fn quantity(&mut self) -> u32 {
        match self.rng.random_range(0..10) {
            0..8 => self.rng.random_range(1..4),
            8 => self.rng.random_range(0..100),
            _ => self.one_of(&[0, 999_999, 1_000_000, 1_000_001, u32::MAX]),
        }
    }

    /// Stock, changes of stock, versions.
    pub(crate) fn units(&mut self) -> i64 {
        const MAX: i64 = (1 << 53) - 1;
        match self.rng.random_range(0..10) {
            0..5 => self.rng.random_range(-20..200),
            5 | 6 => self.rng.random_range(0..4),
            7 => self.rng.random(),
            _ => self.one_of(&[MAX, MAX + 1, -MAX, i64::MAX, i64::MIN, -1, 0]),
        }
    }

    /// A total that an item may well have.
    pub(crate) fn total(&mut self) -> i64 {
        if self.percent(70) {
            self.one_of(&[0, 30, 40, 100, 1_000, 1_000_000, (1 << 53) - 1])
        } else {
            self.units()
        }
    }

    /// A page size.
    pub(crate) fn page_size(&mut self) -> i32 {
        self.one_of(&[0, 1, 2, 7, 100, 1_000, 1_001, -1, i32::MAX, i32::MIN])
    }

    pub(crate) fn token(&mut self) -> String {
        if self.percent(50) {
            return String::new();
        }
        let known = self.known.0.lock().unwrap().tokens.back().cloned();
        match known {
            Some(token) if self.percent(70) => token,
            Some(token) if self.percent(50) => self.bent(&token),
            _ => self.text(),
        }
    }

    /// The number of an enum: those that there are, and others.
    pub(crate) fn number(&mut self) -> i32 {
        match self.rng.random_range(0..20) {
            19 => self.one_of(&[-1, 9, 127, i32::MAX, i32::MIN]),
            18 => self.rng.random_range(0..9),
            known => known % 3,
        }
    }

    pub(crate) fn duration(&mut self) -> Option<Duration> {
        const YEAR: i64 = 365 * 24 * 3_600;
        let (seconds, nanos) = match self.rng.random_range(0..10) {
            0..2 => return None,
            2..7 => (self.rng.random_range(1..1_500), 0),
            7 if self.flag() => (0, self.rng.random_range(0..1_000_000_000)),
            7 => (self.rng.random(), self.rng.random()),
            _ => self.one_of(&[
                (0, 0),
                (0, 99_999_999),
                (0, 100_000_000),
                (-1, 0),
                (1, -1),
                (0, 1_000_000_000),
                (YEAR, 0),
                (YEAR, 1),
                (2 * YEAR, 0),
                (i64::MAX, i32::MAX),
                (i64::MIN, i32::MIN),
            ]),
        };
        Some(Duration { seconds, nanos })
    }

    pub(crate) fn timestamp(&mut self) -> Option<Timestamp> {
        let (seconds, nanos) = match self.rng.random_range(0..10) {
            0..6 => return None,
            6 => (self.rng.random(), self.rng.random()),
            7 => (self.rng.random_range(0..4_000_000_000), 0),
            _ => self.one_of(&[
                (0, 0),
                (1, 1_000_000_000),
                (-62_135_596_800, 0),
                (-62_135_596_801, 0),
                (253_402_300_799, 999_999_999),
                (253_402_300_800, 0),
                (i64::MAX, 0),
                (i64::MIN, -1),
            ]),
        };
        Some(Timestamp { seconds, nanos })
    }

    /// The same text with one thing wrong.
    fn bent(&mut self, text: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        if chars.is_empty() {
            return "x".into();
        }
        let at = self.rng.random_range(0..chars.len());
        match self.rng.random_range(0..5) {
            0 => chars.truncate(at),
            1 => chars[at] = self.one_of(&['a', 'A', '0', '9', '.', '=', 'é']),
            2 => chars.swap(0, at),
            3 => chars.insert(at, '0'),
            _ => drop(chars.remove(at)),
        }
        chars.into_iter().collect()
    }

    fn known_reservation(&mut self) -> Option<(String, ReservationKey)> {
        let ring = Arc::clone(&self.known.0);
        let all = ring.lock().unwrap();
        let len = all.reservations.len();
        (len > 0).then(|| all.reservations[self.rng.random_range(0..len)].clone())
    }

    pub(crate) fn key(&mut self) -> ReservationKey {
        if self.percent(60)
            && let Some((_, key)) = self.known_reservation()
        {
            return key;
        }
        ReservationKey {
            item_id: self.item(),
            buyer_id: self.buyer(),
            request_id: self.id(),
        }
    }

    /// What a rpc on a reservation is about.
    pub(crate) fn target(&mut self) -> Option<Target> {
        if self.percent(3) {
            return None;
        }
        if self.percent(50) {
            return Some(Target::Key(self.key()));
        }
        let id = match self.known_reservation() {
            Some((id, _)) if self.percent(85) => id,
            Some((id, _)) if self.percent(70) => self.bent(&id),
            _ => self.text(),
        };
        Some(Target::Id(id))
    }

    /// How many entries a batch has.
    pub(crate) fn len(&mut self) -> usize {
        match self.rng.random_range(0..100) {
            0..90 => self.rng.random_range(1..6),
            90..97 => self.rng.random_range(0..40),
            _ => self.one_of(&[0, 16, 17, 256, 257, 512, 513]),
        }
    }
}
