//! Whether the sale was sound: the callers' log held against the audit. Pure,
//! so that its tests can show it every kind of failure.

use std::collections::BTreeMap;

use proto::v1::{AuditItemResponse, AuditVerdict, ReservationState};

use super::log::{Log, Told};

/// What is known once the sale is over.
pub(super) struct Evidence<'a> {
    /// Units at the start.
    pub stocked: u64,
    /// Units that one buyer may have.
    pub limit: u64,
    /// What the callers were told.
    pub log: &'a Log,
    /// What the server's audit of every record says.
    pub audit: &'a AuditItemResponse,
    /// The state of each reservation that callers know, read after the sale;
    /// `None` if the server does not know it.
    pub states: &'a BTreeMap<String, Option<ReservationState>>,
}

/// The numbers of the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub stocked: u64,
    /// By the callers' log.
    pub sold: u64,
    pub oversold: u64,
    /// Units that nobody got although somebody wanted them to the end.
    pub stranded: u64,
    /// Reservations that callers were told of and that are not so.
    pub lost: u64,
    pub duplicates_replayed: u64,
    /// Sentences about what is wrong; none if the sale was sound.
    pub failures: Vec<String>,
}

pub(super) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let Evidence {
        stocked,
        limit,
        log,
        audit,
        states: _,
    } = *evidence;
    let mut failures = Vec::new();
    let mut require = |ok: bool, sentence: String| {
        if !ok {
            failures.push(sentence);
        }
    };
    let sold = log.units(Told::Confirmed);
    let counters = audit.counters.unwrap_or_default();
    let by_audit = |units: Option<i64>| units.and_then(|n| u64::try_from(n).ok());
    let oversold = sold
        .saturating_sub(stocked)
        .max(by_audit(audit.oversold_units).unwrap_or(0));
    // What is left is stranded if somebody left without it.
    let available = by_audit(counters.available).unwrap_or(stocked);
    let stranded = if log.unserved > 0 { available } else { 0 };

    require(
        audit.verdict() == AuditVerdict::Sound,
        format!("the audit says {:?}", audit.verdict()),
    );
    for violation in &audit.violations {
        require(
            false,
            format!("{}: {}", violation.invariant, violation.description),
        );
    }
    require(
        oversold == 0,
        format!("{oversold} units were sold that were not there"),
    );
    require(
        by_audit(counters.sold) == Some(sold),
        format!(
            "callers were told {sold} units sold, the audit says {:?}",
            counters.sold
        ),
    );
    require(
        by_audit(counters.supply) == Some(stocked),
        format!(
            "{stocked} units were stocked, the audit says {:?}",
            counters.supply
        ),
    );
    require(
        counters.held == Some(0),
        format!("{:?} units are still held", counters.held),
    );
    require(
        stranded == 0,
        format!("{stranded} units could not be bought"),
    );

    let Compared {
        lost,
        over_limit,
        doubled,
    } = compare(evidence);
    require(
        lost == 0,
        format!("{lost} reservations are not what their callers were told"),
    );
    require(
        over_limit == 0,
        format!("{over_limit} buyers got more than {limit}"),
    );
    require(
        doubled == 0,
        format!("{doubled} requests were granted twice"),
    );
    if let Some(first) = log.undecided.first() {
        require(
            false,
            format!(
                "{} calls ended without an answer, one: {first}",
                log.undecided.len()
            ),
        );
    }
    Verdict {
        stocked,
        sold,
        oversold,
        stranded,
        lost,
        duplicates_replayed: log.replayed,
        failures,
    }
}

/// What the reservations say, one by one.
struct Compared {
    /// Reservations that are not what their callers were told.
    lost: u64,
    /// Buyers with more than they may have.
    over_limit: usize,
    /// Requests that were granted twice.
    doubled: u64,
}

fn compare(evidence: &Evidence<'_>) -> Compared {
    let log = evidence.log;
    let mut lost = 0;
    let mut doubled = log.split_requests;
    let mut bought: BTreeMap<&str, u64> = BTreeMap::new();
    for (id, known) in &log.reservations {
        let state = evidence.states.get(id).copied().flatten();
        lost += u64::from(!fits(known.told, state));
        doubled += u64::from(known.fresh_grants > 1);
        if known.told == Told::Confirmed {
            *bought.entry(&known.buyer).or_default() += u64::from(known.quantity);
        }
    }
    let above = |units: &&u64| **units > evidence.limit;
    let over_limit = bought.values().filter(above).count();
    Compared {
        lost,
        over_limit,
        doubled,
    }
}

/// Whether the server's state is what the caller was told last.
fn fits(told: Told, state: Option<ReservationState>) -> bool {
    use ReservationState::{Cancelled, Confirmed, Expired};
    match told {
        Told::Confirmed => state == Some(Confirmed),
        Told::Cancelled => state == Some(Cancelled),
        // An abandoned hold has expired by the end of the sale.
        Told::Granted | Told::Expired => state == Some(Expired),
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::AuditCounts;

    use super::*;

    struct Sale {
        log: Log,
        audit: AuditItemResponse,
        states: BTreeMap<String, Option<ReservationState>>,
    }

    /// Three units; two sold to ann, one to bob, one of bob's requests twice,
    /// and one hold of eve's given up.
    fn sound() -> Sale {
        let mut log = Log::new().unwrap();
        log.granted(("ann", "1"), "a", 2, false);
        log.granted(("bob", "1"), "b", 1, false);
        log.granted(("bob", "1"), "b", 1, true);
        log.granted(("eve", "1"), "e", 1, false);
        log.told("a", Told::Confirmed);
        log.told("b", Told::Confirmed);
        log.unserved = 1;
        let counters = AuditCounts {
            supply: Some(3),
            available: Some(0),
            held: Some(0),
            sold: Some(3),
            ..AuditCounts::default()
        };
        let audit = AuditItemResponse {
            verdict: AuditVerdict::Sound.into(),
            oversold_units: Some(0),
            counters: Some(counters),
            ..AuditItemResponse::default()
        };
        let states = [
            ("a", ReservationState::Confirmed),
            ("b", ReservationState::Confirmed),
            ("e", ReservationState::Expired),
        ];
        let states = states
            .map(|(id, state)| (id.to_owned(), Some(state)))
            .into();
        Sale { log, audit, states }
    }

    fn failures(sale: &Sale) -> Vec<String> {
        let Sale { log, audit, states } = sale;
        judge(&Evidence {
            stocked: 3,
            limit: 2,
            log,
            audit,
            states,
        })
        .failures
    }

    #[test]
    fn a_sound_sale_has_no_failures() {
        assert_eq!(failures(&sound()), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_failure_is_seen() {
        type Break = fn(&mut Sale);
        let breaks: [(&str, Break); 10] = [
            ("the audit says", |s| {
                s.audit.verdict = AuditVerdict::Undecided.into();
            }),
            ("not there", |s| s.audit.oversold_units = Some(1)),
            ("the audit says", |s| {
                s.audit.counters.as_mut().unwrap().sold = Some(2);
            }),
            ("could not be bought", |s| {
                s.audit.counters.as_mut().unwrap().available = Some(1);
            }),
            ("still held", |s| {
                s.audit.counters.as_mut().unwrap().held = Some(1);
            }),
            ("not what their callers", |s| {
                s.states.insert("a".into(), None);
            }),
            ("not what their callers", |s| {
                s.states.insert("b".into(), Some(ReservationState::Expired));
            }),
            ("granted twice", |s| {
                s.log.granted(("bob", "1"), "x", 1, false);
            }),
            ("granted twice", |s| {
                s.log.granted(("bob", "1"), "b", 1, false);
            }),
            ("without an answer", |s| {
                s.log.undecided.push("timed out".into());
            }),
        ];
        for (expected, break_it) in breaks {
            let mut sale = sound();
            break_it(&mut sale);
            let failures = failures(&sale);
            assert!(
                failures.iter().any(|f| f.contains(expected)),
                "{expected}: {failures:?}"
            );
        }
    }

    #[test]
    fn what_nobody_wanted_is_not_stranded() {
        let mut sale = sound();
        sale.log.unserved = 0;
        sale.audit.counters.as_mut().unwrap().available = Some(1);
        assert_eq!(failures(&sale), Vec::<String>::new());
    }

    #[test]
    fn more_than_the_limit_is_seen() {
        let mut sale = sound();
        sale.log.granted(("ann", "2"), "a2", 1, false);
        sale.log.told("a2", Told::Confirmed);
        sale.states
            .insert("a2".into(), Some(ReservationState::Confirmed));
        let failures = failures(&sale);
        assert!(
            failures.iter().any(|f| f.contains("more than 2")),
            "{failures:?}"
        );
    }
}
