//! One module per promise of the crate's manual. Calls are polled by hand, so
//! that every race has one order.

mod bounds;
mod clock;
mod deadlines;
mod flights;
mod invalidations;
mod model;
mod threads;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use crate::{Bound, Cache, Clock, Found, Limits, Loaded, Sizes};

type Numbers = Cache<u32, u64, &'static str>;
type Answer = Found<u64, &'static str>;

/// Long enough that no test reaches it by accident.
const KEEP_MS: u64 = 1_000;
/// How old a load may be that callers share.
const AGE_MAX_MS: u64 = 50;

/// Large enough that nothing is evicted.
fn roomy() -> Numbers {
    roomy_by(&Arc::default())
}

fn roomy_by(clock: &Arc<Clock>) -> Numbers {
    Cache::new(limits(4_096), Sizes::INLINE, Arc::clone(clock))
}

/// As many entries, of any usual size, of each kind.
fn limits(entries_max: u32) -> Limits {
    let bound = Bound {
        entries_max,
        bytes_max: u64::from(entries_max) * 1_000,
    };
    Limits {
        known: bound,
        unknown: bound,
    }
}

fn known(value: u64) -> Loaded<u64, &'static str> {
    Loaded::keep(Found::Known(value), KEEP_MS)
}

/// A caller whose load ends when the test says so.
struct Call<'a> {
    future: Pin<Box<dyn Future<Output = Answer> + 'a>>,
    answer: Option<oneshot::Sender<Loaded<u64, &'static str>>>,
    began: Rc<Cell<bool>>,
}

impl<'a> Call<'a> {
    /// Calls `get_or_load`, until it waits for something.
    fn get(cache: &'a Numbers, key: &'a u32) -> Self {
        Self::start(|load| Box::pin(cache.get_or_load(key, AGE_MAX_MS, load)))
    }

    /// The same with `load_later`.
    fn later(cache: &'a Numbers, key: &'a u32) -> Self {
        Self::start(|load| Box::pin(cache.load_later(key, load)))
    }

    fn start<F>(
        call: impl FnOnce(Pin<Box<dyn Future<Output = Loaded<u64, &'static str>> + 'a>>) -> F,
    ) -> Self
    where
        F: Future<Output = Answer> + 'a,
    {
        let (answer, told) = oneshot::channel();
        let began = Rc::new(Cell::new(false));
        let begins = Rc::clone(&began);
        let load = async move {
            begins.set(true);
            told.await.unwrap()
        };
        let mut call = Self {
            future: Box::pin(call(Box::pin(load))),
            answer: Some(answer),
            began,
        };
        assert_eq!(call.poll(), None, "it did not wait for anything");
        call
    }

    fn poll(&mut self) -> Option<Answer> {
        let mut context = Context::from_waker(Waker::noop());
        match self.future.as_mut().poll(&mut context) {
            Poll::Ready(found) => Some(found),
            Poll::Pending => None,
        }
    }

    /// Whether it is the one that loads.
    fn loads(&mut self) -> bool {
        assert_eq!(self.poll(), None);
        self.began.get()
    }

    /// Ends its load, and returns what the caller gets.
    fn end(mut self, loaded: Loaded<u64, &'static str>) -> Answer {
        assert!(self.began.get(), "it does not load");
        let answer = self.answer.take().unwrap();
        answer.send(loaded).unwrap();
        self.poll().unwrap()
    }

    /// Goes away in the middle.
    fn cancel(self) {
        drop(self.future);
    }
}
