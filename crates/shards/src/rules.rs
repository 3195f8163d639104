//! The ⚔ rules of the design, each of which mends a failure that was seen to
//! happen. Every one of them can be switched off, one at a time, to see which
//! check misses it: `tests/mutants` does that and prints the table of
//! `docs/CORRECTNESS.md`.
//!
//! The switch is the feature `mutants`. Without it [`holds`] is a constant and
//! nothing of this is left in the program; and a release cannot have it.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("the feature `mutants` switches off what keeps sales sound: not in a release");

macro_rules! rules {
    ($($(#[doc = $words:literal])+ $rule:ident = $name:literal,)+) => {
        /// A rule that can be switched off.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rule { $($(#[doc = $words])+ $rule,)+ }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$rule,)+];

            /// As the command and the table name it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$rule => $name,)+ }
            }
        }
    };
}

rules! {
    /// A batch means its operations one after the other.
    BatchIsAFold = "batch-is-a-fold",
    /// Where more has lapsed than a batch can give back, the answer is AGAIN, never no.
    AgainBeforeNo = "again-before-no",
    /// A refusal needs two readings of all shards.
    LookReadsTwice = "look-reads-twice",
    /// Every sent equals its received: nothing is under way.
    LookSeesWhatIsUnderWay = "look-sees-what-is-under-way",
    /// The second sum decides, not the first.
    SecondSumDecides = "second-sum-decides",
    /// A waiter shares only a look that begins after it arrived.
    SharedLookBeginsLater = "shared-look-begins-later",
    /// After a look that does not suffice the home shard has the last word: a record wins over everything.
    HomeHasTheLastWord = "home-has-the-last-word",
    /// Whoever seems to have sent less than was received is asked, so that it finds out.
    SendersAreAsked = "senders-are-asked",
    /// Nothing moves for a request before a look has shown that the sum suffices.
    LookBeforeMoving = "look-before-moving",
    /// Nothing is remembered of a stock to which units were added while it was looked at.
    MarksNeedSteadyStock = "marks-need-steady-stock",
    /// A mark refuses only a request that says `first_attempt`.
    MarksRefuseFirstAttempts = "marks-refuse-first-attempts",
    /// And only if nothing in its metadata tells of an earlier attempt.
    CountedAttemptsAreHeeded = "counted-attempts-are-heeded",
    /// A mark refuses only quantities above what was found.
    MarksCarryTheirNumber = "marks-carry-their-number",
    /// A notice, or an operation of this server's own that put units on sale, ends an item's mark, also one that is being found.
    MarksHeedNotices = "marks-heed-notices",
    /// Where notices may have been missed all marks end.
    MarksHeedMissedNotices = "marks-heed-missed-notices",
    /// A question under way is no answer to those who come when what it finds is too old to be believed.
    SharedAnswersAreYoung = "shared-answers-are-young",
    /// How old something is in memory is told by a real clock, however busy the machine.
    MemoryReadsTheClock = "memory-reads-the-clock",
    /// While a claim is open its shard lends to an older claim only.
    ClaimGuardsStock = "claim-guards-stock",
    /// The older claim wins; of equal ones the lower shard's.
    OlderClaimWins = "older-claim-wins",
    /// CLAIMED is not "nothing".
    ClaimedIsNotNothing = "claimed-is-not-nothing",
    /// A claim is noted after a look that suffices, not before.
    ClaimAfterLook = "claim-after-look",
    /// A claim ends with the decision, whatever that is.
    ClaimEndsWithDecision = "claim-ends-with-decision",
    /// A claim ends by itself unless it is renewed.
    ClaimEndsByItself = "claim-ends-by-itself",
    /// A run that finds another size of a shard's keys than its header says freezes the stripe.
    SizesAreChecked = "sizes-are-checked",
    /// A deadline below the last one queued goes to the sorted queue.
    ShorterDeadlinesAreSorted = "shorter-deadlines-are-sorted",
    /// An extended deadline goes to the sorted queue.
    ExtensionsAreSorted = "extensions-are-sorted",
    /// Buyers are counted from an item's creation on, or never.
    CountedFromCreation = "counted-from-creation",
    /// The generation is part of every key.
    GenerationInKeys = "generation-in-keys",
    /// Only `create` makes a shard.
    OnlyCreateMakes = "only-create-makes",
    /// MISSING is a loss only if the entry, read afterwards, is LIVE with this generation.
    MissingReadsTheEntry = "missing-reads-the-entry",
    /// Transfers are cumulative counters: a repeated credit adds nothing.
    CreditsAreCumulative = "credits-are-cumulative",
    /// While one transfer of a pair is under way, no second one begins.
    OneTransferUnderWay = "one-transfer-under-way",
    /// A lender that sent less than was received has lost its tail: it freezes.
    LenderKnowsItsLoss = "lender-knows-its-loss",
    /// A lend is durable before it is credited: an answer is an acknowledgement.
    DurableBeforeAnswer = "durable-before-answer",
    /// The ledger's `create` carries the opening supply.
    CreateCarriesSupply = "create-carries-supply",
    /// Removing an item's shards is decided in its entry, by compare and set.
    RemovalIsDecidedOnce = "removal-is-decided-once",
    /// An acknowledgement needs every replica that may be elected, not one.
    EveryListedReplica = "every-listed-replica",
    /// And as many more as are attached without being listed.
    UnlistedCount = "unlisted-count",
    /// A list of replicas older than a second acknowledges nothing.
    ListsAreFresh = "lists-are-fresh",
    /// Where `replicated-strict` is promised, also those that the cluster calls failed.
    StrictCountsTheFailed = "strict-counts-the-failed",
    /// WAIT's count decides whether it is an acknowledgement.
    WaitDecides = "wait-decides",
    /// What was sent to a node is never sent again by itself: a connection that breaks is replaced.
    NothingIsSentTwice = "nothing-is-sent-twice",
    /// An incarnation is run id and replication id.
    IncarnationIsBothIds = "incarnation-is-both-ids",
    /// A script that finds another incarnation does nothing, and only one that was read on a new connection is offered.
    FencedIsReadAnew = "fenced-is-read-anew",
    /// Acknowledged work that a guard's log has no room for is gone, and noticed.
    LossIsNoticed = "loss-is-noticed",
    /// What is remembered names the incarnation that acknowledged it.
    MarksNameIncarnations = "marks-name-incarnations",
    /// Stripes are visited, used or not, so that memories keep up.
    StripesAreVisited = "stripes-are-visited",
    /// A guard that is missing is a loss, not a new store.
    MissingGuardIsALoss = "missing-guard-is-a-loss",
    /// From 85% of maxmemory on nothing new is taken.
    FullBeforeOutOfMemory = "full-before-out-of-memory",
    /// A batch's time is the median of all masters' clocks.
    TimeIsTheMedian = "time-is-the-median",
    /// A batch whose time is far from its master's own does nothing.
    MasterKnowsTheTime = "master-knows-the-time",
    /// A stripe that was taken over serves nothing for a second: whoever knows of a loss is faster.
    PauseAfterAdoption = "pause-after-adoption",
    /// Every run writes, so that WAIT counts replicas that have what it read.
    EveryRunWrites = "every-run-writes",
    /// Scripts run when the memory is full: what frees some is never refused.
    ScriptsRunWhenFull = "scripts-run-when-full",
    /// A notice is sent when a shard's available leaves 0.
    FreedShardsAreTold = "freed-shards-are-told",
    /// A connection for notices that is new, was lost or lags: anything may have been missed.
    LostNoticesAreMissed = "lost-notices-are-missed",
    /// What an operation of this server makes untrue is told before it is answered.
    ToldBeforeAnswered = "told-before-answered",
}

/// Whether a rule is in force. It always is, outside of a run of mutants.
#[cfg(not(feature = "mutants"))]
#[inline]
#[must_use]
pub const fn holds(_: Rule) -> bool {
    true
}

/// Whether a rule is in force: all but the one that the environment variable
/// `HOLDFAST_MUTANT` names.
#[cfg(feature = "mutants")]
#[must_use]
pub fn holds(rule: Rule) -> bool {
    use std::sync::LazyLock;
    static OFF: LazyLock<Option<Rule>> = LazyLock::new(|| {
        let name = std::env::var("HOLDFAST_MUTANT")
            .ok()
            .filter(|n| !n.is_empty())?;
        let off = Rule::ALL.iter().copied().find(|rule| rule.name() == name);
        #[expect(clippy::panic, reason = "a misspelt mutant would survive every check")]
        let Some(off) = off else {
            panic!("HOLDFAST_MUTANT names no rule: {name}")
        };
        Some(off)
    });
    *OFF != Some(rule)
}
