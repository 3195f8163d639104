//! What is explored, as data: how stock lies, who asks for what, and how often
//! the world may misbehave.

/// One world to explore.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// As its test is called.
    pub name: &'static str,
    /// Units that can be bought, by shard.
    pub stock: &'static [u64],
    /// Reservations that there are from the beginning, beside the stock.
    pub holds: &'static [Hold],
    /// Who asks.
    pub jobs: &'static [Job],
    /// Most units of a buyer; 0 = no limit.
    pub buyer_limit: u32,
    /// What goes wrong, and how often.
    pub environment: Environment,
    /// States, as counted last. A model that explores far fewer has lost a part.
    pub states: usize,
}

/// A reservation that there is from the beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    /// Where.
    pub shard: u8,
    /// Units.
    pub units: u32,
    /// Its deadline has just passed, and nobody has noticed; else it passes
    /// after [`HOLD_MS`].
    pub lapsed: bool,
}

/// How long holds last.
pub(crate) const HOLD_MS: u64 = 60_000;

/// Somebody who wants something, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// A buyer's Reserve.
    Reserve {
        /// Names the request; jobs with the same id and buyer are attempts of
        /// one request, under way at the same time.
        id: u8,
        /// Who buys.
        buyer: u8,
        /// Units.
        units: u32,
        /// The buyer's home shard.
        home: u8,
    },
    /// A late Confirm of one of the holds.
    Reacquire {
        /// Which.
        hold: u8,
    },
    /// A Cancel of one of the holds: one operation, no round.
    Cancel {
        /// Which.
        hold: u8,
    },
    /// An operator takes units off sale.
    Take {
        /// Units.
        units: u32,
        /// As many as there are.
        partial: bool,
    },
}

/// What goes wrong, and how often at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environment {
    /// A request's server vanishes; another one starts again with the same ids.
    pub crashes: u8,
    /// … or nobody does: the caller has given up, too.
    pub abandons: bool,
    /// A question that the round can do without is lost, or its answer is.
    pub losses: u8,
    /// A message is carried out once more, or late, at any time.
    pub copies: u8,
    /// The store's time goes on by this much, one after the other. (It also goes
    /// on whenever a claim that nobody stands behind any more has to end.)
    pub ticks: &'static [u64],
    /// A shard loses what it has not acknowledged. If this is not 0, becoming
    /// durable is a step of its own, and answers wait for it.
    pub restarts: u8,
    /// A shard loses what it *has* acknowledged: more than any store survives.
    pub forgets: u8,
}

impl Environment {
    /// Nothing goes wrong.
    pub(crate) const CALM: Self = Self {
        crashes: 0,
        abandons: false,
        losses: 0,
        copies: 0,
        ticks: &[],
        restarts: 0,
        forgets: 0,
    };
}

/// A buyer's only request.
pub(crate) const fn reserve(id: u8, units: u32, home: u8) -> Job {
    Job::Reserve {
        id,
        buyer: id,
        units,
        home,
    }
}

impl Job {
    /// Units that it wants, as far as it names them itself.
    pub(crate) fn units(self, scenario: &Scenario) -> u64 {
        match self {
            Self::Reserve { units, .. } | Self::Take { units, .. } => u64::from(units),
            Self::Reacquire { hold } | Self::Cancel { hold } => {
                u64::from(scenario.holds[usize::from(hold)].units)
            }
        }
    }

    /// Whether it takes less rather than nothing.
    pub(crate) fn is_partial(self) -> bool {
        matches!(self, Self::Take { partial: true, .. })
    }
}

impl Scenario {
    /// Units that the item was stocked with.
    pub(crate) fn supply(&self) -> u64 {
        let held: u64 = self.holds.iter().map(|hold| u64::from(hold.units)).sum();
        self.stock.iter().sum::<u64>() + held
    }

    /// Whether units can come back to stock.
    pub(crate) fn gives_back(&self) -> bool {
        !self.holds.is_empty() || self.environment.ticks.iter().sum::<u64>() >= HOLD_MS
    }
}
