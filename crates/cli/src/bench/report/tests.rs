//! That figures are divided by the right numbers, and by none that is zero.

use client::{Ids, Wish};
use proto::v1::{AuditVerdict, Reservation, ReservationKey, ReserveOutcome, ReserveResponse};

use super::super::judge::{Answer, Case};
use super::super::meters::Cpu;
use super::*;

fn setup() -> Setup {
    Setup {
        seed: 1,
        servers: vec!["http://127.0.0.1:50051".to_owned()],
        mode: "unary",
        callers: 128,
        connections: 4,
        threads: 1,
        batch_size: None,
        quantity: 2,
        sold: Sold::Own {
            items: 1,
            stock: 1_000,
            shards: 0,
            buyer_limit: 0,
        },
        duplicates_percent: 0,
        buyers: None,
        warm_up: "0s".to_owned(),
    }
}

/// So many requests of two units that were granted, and so many that were not.
fn tally(granted: u32, refused: u32) -> Tally {
    let wish = Wish {
        key: ReservationKey::default(),
        quantity: 2,
        ids: Ids::NeverSent,
    };
    let reservation = Reservation {
        quantity: 2,
        ..Reservation::default()
    };
    let reply = |outcome: ReserveOutcome, reservation| -> Answer {
        Ok(ReserveResponse {
            outcome: outcome.into(),
            reservation,
            ..ReserveResponse::default()
        })
    };
    let (yes, no) = (
        reply(ReserveOutcome::Reserved, Some(reservation)),
        reply(ReserveOutcome::SoldOut, None),
    );
    let mut tally = Tally::new().unwrap();
    for (n, answer) in [(granted, yes), (refused, no)] {
        for _ in 0..n {
            tally.call(Duration::from_millis(1), std::slice::from_ref(&answer));
            let case = Case {
                wish: &wish,
                first: &answer,
                second: None,
                at_once: false,
            };
            tally.judge(case, true);
        }
    }
    tally
}

fn audit(taken: u64) -> Audit {
    Audit {
        verdict: AuditVerdict::Sound,
        taken: Some(taken),
        violations: Vec::new(),
    }
}

fn evidence(tally: &Tally) -> Evidence<'_> {
    let spent = |script_calls, cpu_us, memory_bytes| Spent {
        script_calls,
        script_us: cpu_us / 2,
        cpu_us,
        memory_bytes,
    };
    let node = |address: &str, spent| NodeSpent {
        address: address.to_owned(),
        spent,
    };
    Evidence {
        setup: setup(),
        interrupted: false,
        elapsed: Duration::from_secs(2),
        tally,
        used: Used {
            processes: vec![Cpu {
                name: "server".to_owned(),
                pid: 7,
                us: 1_000,
            }],
            nodes: vec![
                node("a:1", spent(8, 150, 10_000)),
                node("b:2", spent(2, 50, 3_300)),
            ],
            notes: Vec::new(),
        },
        audit: Some(audit(tally.units_granted)),
        naive: Some(NaiveRun {
            requests: 1_000,
            elapsed: Duration::from_millis(500),
            spent: spent(1_000, 8_000, 0),
        }),
    }
}

#[test]
fn every_figure_is_divided_by_what_it_is_named_after() {
    let tally = tally(100, 300);
    let report = Report::new(evidence(&tally));
    assert!(report.sound && report.notes.is_empty(), "{report:?}");
    assert_eq!((report.requests, report.calls), (400, 400));
    assert_eq!(report.elapsed, "2s");
    assert_eq!(report.requests_per_second, Some(200.0));
    assert_eq!(report.granted_per_second, Some(50.0));
    assert_eq!(report.cpu[0].us_per_request, Some(2.5));
    assert_eq!(report.cpu[0].us_per_granted, Some(10.0));
    let store = report.store.unwrap();
    assert_eq!(store.script_calls_per_granted, Some(0.1));
    assert_eq!(store.cpu_us_per_granted, Some(2.0));
    assert_eq!(store.script_us_per_granted, Some(1.0));
    assert_eq!(store.memory_bytes_per_granted, Some(133.0));
    assert_eq!((store.sums.cpu_us, store.nodes[1].sums.cpu_us), (200, 50));
    let naive = report.naive.unwrap();
    assert_eq!(naive.requests_per_second, Some(2_000.0));
    assert_eq!(naive.cpu_us_per_request, Some(8.0));
    assert_eq!(naive.script_us_per_request, Some(4.0));
    assert_eq!(naive.ratio, Some(4.0));
}

#[test]
fn what_was_not_granted_costs_nothing_per_grant() {
    let tally = tally(0, 3);
    let report = Report::new(evidence(&tally));
    assert_eq!(report.cpu[0].us_per_granted, None);
    assert_eq!(report.store.unwrap().cpu_us_per_granted, None);
    assert_eq!(report.naive.unwrap().ratio, None);
}

#[test]
fn a_redis_that_ran_no_script_is_not_compared() {
    let tally = tally(100, 0);
    let mut evidence = evidence(&tally);
    for node in &mut evidence.used.nodes {
        node.spent.script_calls = 0;
    }
    let report = Report::new(evidence);
    assert_eq!(report.naive.unwrap().ratio, None);
    assert!(
        report.notes[0].contains("no script ran"),
        "{:?}",
        report.notes
    );
}

#[test]
fn units_that_the_books_do_not_have_are_a_failure() {
    let mut tally = tally(10, 0);
    let sound = |tally: &Tally, taken| {
        let audit = Some(audit(taken));
        Report::new(Evidence {
            audit,
            ..evidence(tally)
        })
        .sound
    };
    for (taken, expected) in [(19, false), (20, true), (21, false)] {
        assert_eq!(sound(&tally, taken), expected, "{taken}");
    }
    // Calls without an answer may have been granted.
    tally.units_unknown = 2;
    for (taken, expected) in [(19, false), (20, true), (22, true), (23, false)] {
        assert_eq!(sound(&tally, taken), expected, "{taken}");
    }
}

#[test]
fn an_item_that_others_sell_too_is_only_audited() {
    let tally = tally(10, 0);
    let mut evidence = evidence(&tally);
    evidence.setup.sold = Sold::Given {
        item_id: "sneaker".to_owned(),
    };
    evidence.audit = Some(audit(9_999));
    assert!(Report::new(evidence).sound);
}

#[test]
fn mismatches_and_violations_are_told_in_sentences() {
    let mut tally = tally(1, 0);
    tally.mismatches.granted_twice = 1_234;
    let audit = Audit {
        verdict: AuditVerdict::Violated,
        taken: None,
        violations: vec!["a: I2: below zero".to_owned()],
    };
    let report = Report::new(Evidence {
        audit: Some(audit),
        ..evidence(&tally)
    });
    assert!(!report.sound);
    let expected = [
        "1,234 requests were granted twice",
        "the audit says VIOLATED",
        "a: I2: below zero",
    ];
    assert_eq!(report.failures, expected);
}

#[test]
fn the_json_has_the_names_of_the_manual_and_no_others() {
    let tally = tally(1, 1);
    let mut evidence = evidence(&tally);
    evidence.setup.batch_size = Some(1);
    evidence.setup.buyers = Some(1);
    let told = serde_json::to_value(Report::new(evidence)).unwrap();
    let manual: Vec<_> = super::super::ABOUT
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    for name in told.as_object().unwrap().keys() {
        assert!(manual.contains(&name.as_str()), "{name}");
    }
}
