//! Whoever remembers what a store said hears what makes it untrue, before the
//! operation that does is answered.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use shards::ids::{
    Fingerprint, Generation, ItemId, Quantity, RecordKey, RequestId, ShardKey, ShardNo, StripeNo,
};
use shards::inventory::{Edit, Edits};
use shards::machine::{
    LateConfirm, Op, Reply, Selling, Settings, ShardOp, ShardReply, StockChange,
};
use shards::store::{Listener, Notice, Store};

use crate::fixture::{Fixture, create, item, request, spec};

const STRIPE: StripeNo = StripeNo(5);
const HOLD_MS: u64 = 60_000;
/// Longest wait for a notice that is under way.
const NOTICE_TIME_MAX: Duration = Duration::from_secs(20);

/// Keeps what it hears.
#[derive(Default)]
struct Ear(Mutex<Vec<Notice>>);

impl Listener for Ear {
    fn hear(&self, notice: &Notice) {
        self.0.lock().unwrap().push(notice.clone());
    }
}

impl Ear {
    fn on(store: &dyn Store) -> Arc<Self> {
        let ear = Arc::new(Self::default());
        store.listen(Arc::<Self>::clone(&ear));
        ear
    }

    /// Whether it heard this since the last time that it forgot.
    fn has_heard(&self, notice: &Notice) -> bool {
        self.0.lock().unwrap().contains(notice)
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// Keeps whoever tells it of these units, until it is opened.
struct Gate {
    units: Notice,
    passage: Mutex<Passage>,
    changed: Condvar,
}

#[derive(PartialEq, Eq)]
enum Passage {
    Shut,
    /// Somebody waits before it.
    Reached,
    Open,
}

impl Listener for Gate {
    fn hear(&self, notice: &Notice) {
        if *notice != self.units {
            return;
        }
        let mut passage = self.passage.lock().unwrap();
        if *passage == Passage::Shut {
            *passage = Passage::Reached;
            self.changed.notify_all();
        }
        let shut = |passage: &mut Passage| *passage != Passage::Open;
        drop(self.changed.wait_while(passage, shut).unwrap());
    }
}

impl Gate {
    fn on(store: &dyn Store, units: Notice) -> Arc<Self> {
        let gate = Arc::new(Self {
            units,
            passage: Mutex::new(Passage::Shut),
            changed: Condvar::new(),
        });
        store.listen(Arc::<Self>::clone(&gate));
        gate
    }

    /// Whether somebody came to it in time. The store has threads of its own, so
    /// this one may stand still.
    fn is_reached(&self) -> bool {
        let passage = self.passage.lock().unwrap();
        let shut = |passage: &mut Passage| *passage == Passage::Shut;
        let waited = self
            .changed
            .wait_timeout_while(passage, NOTICE_TIME_MAX, shut);
        *waited.unwrap().0 == Passage::Reached
    }

    fn open(&self) {
        *self.passage.lock().unwrap() = Passage::Open;
        self.changed.notify_all();
    }
}

/// A shard of an item that no other case has: what is heard late of one must not
/// be taken for news of the next.
struct Case<'a> {
    store: &'a dyn Store,
    ear: &'a Ear,
    shard: ShardKey,
}

fn key() -> RecordKey {
    RecordKey {
        request: request(1),
        buyer: Fingerprint([1; 8]),
    }
}

fn reserve(quantity: u32) -> ShardOp {
    ShardOp::Reserve {
        key: key(),
        quantity: Quantity::new(quantity).unwrap(),
        version: 1,
    }
}

fn confirm() -> ShardOp {
    ShardOp::Confirm {
        key: key(),
        late: LateConfirm::Refuse,
        version: 1,
    }
}

fn cancel() -> ShardOp {
    ShardOp::Cancel {
        key: key(),
        forbid_unknown: true,
    }
}

fn give_back(discard: bool) -> ShardOp {
    ShardOp::Return {
        key: key(),
        request: request(2),
        quantity: Quantity::new(1).unwrap(),
        discard,
    }
}

fn adjust(delta: i64) -> ShardOp {
    ShardOp::Change {
        request: RequestId([3; 16]),
        change: StockChange::Adjust {
            delta,
            allow_partial: false,
        },
        gathered: true,
        version: 1,
    }
}

impl<'a> Case<'a> {
    async fn of(name: &str, supply: u64, store: &'a dyn Store, ear: &'a Ear) -> Self {
        let case = Self {
            store,
            ear,
            shard: ShardKey {
                item: item(name),
                generation: Generation([9; 8]),
                shard: ShardNo::LEDGER,
            },
        };
        let settings = Settings {
            selling: Selling::Open,
            sale_start: None,
            sale_end: None,
            hold_ttl_ms: HOLD_MS,
            max_hold_ms: HOLD_MS,
            sell_at_once: false,
            counts_buyers: true,
            max_units_per_buyer: 0,
            max_units_per_reservation: 100,
            retention_ms: 600_000,
        };
        case.ask(ShardOp::Create {
            settings,
            version: 1,
            supply: Some(supply),
        })
        .await;
        case
    }

    async fn ask(&self, op: ShardOp) -> ShardReply {
        let op = Op::Shard(self.shard.clone(), op);
        match self.store.submit(STRIPE, op, None).await.unwrap() {
            Reply::Shard(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn units(&self) -> Notice {
        Notice::Units(self.shard.item.clone())
    }

    fn has_heard(&self) -> bool {
        self.ear.has_heard(&self.units())
    }

    async fn is_silent(&self, op: ShardOp) {
        let reply = self.ask(op.clone()).await;
        assert!(!self.has_heard(), "{op:?} of {:?}: {reply:?}", self.shard);
    }

    async fn is_heard(&self, op: ShardOp) {
        let reply = self.ask(op.clone()).await;
        assert!(self.has_heard(), "{op:?} of {:?}: {reply:?}", self.shard);
    }
}

pub(crate) async fn units_that_come_on_sale_are_heard_of_before_the_answer(fixture: impl Fixture) {
    let store = fixture.store();
    let ear = Ear::on(&*store);
    // To others that are on sale, and where there are none.
    for (rest, supply) in [("more", 5), ("first", 2)] {
        let case = async |name: &str| {
            let name = format!("{name}-{rest}");
            let case = Case::of(&name, supply, &*store, &ear).await;
            case.is_silent(reserve(2)).await;
            case
        };
        case("cancel").await.is_heard(cancel()).await;
        let returned = case("return").await;
        returned.is_silent(confirm()).await;
        returned.is_heard(give_back(false)).await;
        case("adjust").await.is_heard(adjust(1)).await;
        let credit = ShardOp::Credit {
            from: ShardNo(1),
            sent: 3,
        };
        case("credit").await.is_heard(credit).await;
        // Whatever finds that a hold has lapsed.
        for op in [
            ShardOp::Expire { limit: 10 },
            ShardOp::Lookup { key: key() },
            reserve(2),
            cancel(),
        ] {
            let name = format!("{op:?}").to_lowercase();
            let name = name.split(|c: char| !c.is_alphabetic()).next().unwrap();
            let lapsed = case(&format!("lapse-{name}")).await;
            fixture.advance_ms(i64::try_from(HOLD_MS).unwrap());
            lapsed.is_heard(op).await;
        }
    }
}

/// Not about the same time, and mostly first: as long as one has not heard of it,
/// nobody is answered.
pub(crate) async fn nobody_is_answered_while_one_has_yet_to_hear(fixture: impl Fixture) {
    let store = fixture.store();
    let ear = Ear::on(&*store);
    // Others are on sale, so it is told here alone, and on no other way.
    let case = Case::of("kept", 5, &*store, &ear).await;
    case.is_silent(reserve(2)).await;
    let gate = Gate::on(&*store, case.units());
    let op = Op::Shard(case.shard.clone(), cancel());
    let mut answer = store.submit(STRIPE, op, None);
    let is_reached = gate.is_reached();
    let early = tokio::select! {
        biased;
        early = &mut answer => Some(early),
        () = std::future::ready(()) => None,
    };
    // Before anything fails: the store cannot be closed while it is kept.
    gate.open();
    assert!(is_reached, "never told");
    assert_eq!(early, None, "answered too early");
    answer.await.unwrap();
}

pub(crate) async fn units_that_go_or_do_not_come_are_not_heard_of(fixture: impl Fixture) {
    let store = fixture.store();
    let ear = Ear::on(&*store);
    let case = Case::of("silent", 5, &*store, &ear).await;
    for op in [
        reserve(2),
        ShardOp::Look,
        confirm(),
        give_back(true),
        adjust(-1),
        ShardOp::Lookup { key: key() },
        ShardOp::Expire { limit: 10 },
        ShardOp::Delete,
    ] {
        case.is_silent(op).await;
    }
}

pub(crate) async fn changes_of_an_item_are_heard_of_before_the_answer(fixture: impl Fixture) {
    let store = fixture.store();
    let server = fixture.server();
    let ear = Ear::on(&*store);
    let changed = |id: ItemId| {
        let heard = ear.has_heard(&Notice::Changed(id));
        ear.forget();
        heard
    };
    let sneaker = item("sneaker");
    create(&server, spec(5)).await;
    assert!(changed(sneaker.clone()), "created");
    let edits = Edits {
        max_units_per_reservation: Edit::Set(3),
        ..Edits::default()
    };
    server
        .update_item(&sneaker, &edits, None, None)
        .await
        .unwrap();
    assert!(changed(sneaker.clone()), "updated");
    server.pause_item(&sneaker, "", None).await.unwrap();
    assert!(changed(sneaker.clone()), "paused");
    server.resume_item(&sneaker, "", None).await.unwrap();
    assert!(changed(sneaker.clone()), "resumed");
    server
        .delete_item(&sneaker, false, None, None)
        .await
        .unwrap();
    assert!(changed(sneaker), "deleted");
}
