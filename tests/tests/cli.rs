//! The command line against a real server: what it prints for programs, and
//! how it exits.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use e2e::{Ended, Server, Store, holdfast, run};
use serde_json::{Value, json};

e2e::on_every_store!(a_sale_by_hand, items_and_the_server_itself);

/// The command's exit codes, as `--help` tells them.
const DONE: i32 = 0;
const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const UNDECIDED: i32 = 3;

/// A server, and the command that talks to it.
struct Terminal {
    server: Server,
}

impl Terminal {
    async fn new() -> Self {
        Self::over(&Store::Embedded).await
    }

    async fn over(store: &Store) -> Self {
        let server = store.serve(holdfast!()).await;
        Self { server }
    }

    async fn run(&self, line: &str) -> Ended {
        let mut args: Vec<_> = line.split_whitespace().collect();
        args.extend(["--addr", self.server.address()]);
        holdfast!().run(&args).await
    }

    /// The JSON of a command that ends with this code.
    async fn json(&self, code: i32, line: &str) -> Value {
        let ended = self.run(&format!("{line} --output json")).await;
        assert_eq!(ended.code, Some(code), "{line}: {ended:#?}");
        assert_eq!(ended.stdout.lines().count(), 1, "{line}: {ended:#?}");
        ended.json()
    }

    /// The error of a command that ends with this code and prints nothing else.
    async fn error(&self, code: i32, line: &str) -> Value {
        let ended = self.run(&format!("{line} --output json")).await;
        assert_eq!(
            (ended.code, &*ended.stdout),
            (Some(code), ""),
            "{line}: {ended:#?}"
        );
        error_of(&ended)
    }
}

#[track_caller]
fn error_of(ended: &Ended) -> Value {
    let mut said: Value = serde_json::from_str(ended.sentence()).expect("JSON");
    said["error"].take()
}

async fn a_sale_by_hand(store: Store) {
    let terminal = Terminal::over(&store).await;
    let create = "item create sneaker --stock 5 --limit-per-buyer 3 --hold-ttl 10m";
    let item = terminal.json(DONE, create).await;
    assert_eq!(item["item_id"], "sneaker");
    assert_eq!(
        (&item["state"], &item["hold_ttl"]),
        (&json!("OPEN"), &json!("600s"))
    );
    let again = format!(
        "{create} --request-id {}",
        item["request_id"].as_str().unwrap()
    );
    assert_eq!(
        terminal.json(DONE, &again).await["create_time"],
        item["create_time"]
    );
    assert_eq!(
        terminal.error(REFUSED, create).await["reason"],
        "ITEM_EXISTS"
    );

    let ada = terminal
        .json(DONE, "reserve sneaker ada --quantity 3")
        .await;
    assert_eq!(
        (&ada["outcome"], &ada["replayed"]),
        (&json!("RESERVED"), &json!(false))
    );
    let request = ada["request_id"].as_str().unwrap();
    let again = format!("reserve sneaker ada --quantity 3 --request-id {request}");
    assert_eq!(terminal.json(DONE, &again).await["replayed"], true);
    let reused = format!("reserve sneaker ada --quantity 2 --request-id {request}");
    assert_eq!(
        terminal.error(REFUSED, &reused).await["reason"],
        "REQUEST_ID_REUSED"
    );
    let greedy = terminal.json(REFUSED, "reserve sneaker ada").await;
    assert_eq!(greedy["outcome"], "BUYER_LIMIT_REACHED");
    assert_eq!(greedy["buyer_units"], 3);
    let short = terminal
        .json(REFUSED, "reserve sneaker bob --quantity 3")
        .await;
    assert_eq!(
        (&short["outcome"], &short["available_units"]),
        (&json!("NOT_ENOUGH"), &json!(2))
    );

    let id = ada["reservation"]["reservation_id"].as_str().unwrap();
    let confirmed = terminal.json(DONE, &format!("confirm {id}")).await;
    assert_eq!(confirmed["outcome"], "CONFIRMED");
    assert_eq!(confirmed["reservation"]["state"], "CONFIRMED");
    let sold = terminal.error(REFUSED, &format!("cancel {id}")).await;
    assert_eq!(sold["code"], "FAILED_PRECONDITION");
    assert_eq!(sold["reason"], "RESERVATION_CONFIRMED");

    let bob = terminal
        .json(DONE, "reserve sneaker bob --quantity 2")
        .await;
    let request = bob["request_id"].as_str().unwrap();
    let by_key = format!("--item sneaker --buyer bob --request-id {request}");
    let longer = terminal
        .json(DONE, &format!("extend {by_key} --for 20m"))
        .await;
    assert_eq!(longer["state"], "HELD");
    let refused = terminal
        .error(REFUSED, &format!("extend {by_key} --for 9h"))
        .await;
    assert_eq!(refused["reason"], "HOLD_TOO_LONG");
    assert!(refused["metadata"]["max_hold_for"].is_string(), "{refused}");
    let read = terminal
        .json(DONE, &format!("reservation get {by_key}"))
        .await;
    assert_eq!(read["expire_time"], longer["expire_time"]);
    let cancelled = terminal.json(DONE, &format!("cancel {by_key}")).await;
    assert_eq!(cancelled["state"], "CANCELLED");

    let stock = terminal
        .json(DONE, "stock adjust sneaker -1 --reason damaged")
        .await;
    assert_eq!(stock["applied_delta"], -1);
    let stocks = terminal.json(DONE, "stock get sneaker --strong").await;
    let stock = &stocks["stocks"][0];
    let units = ["available", "held", "sold", "total"].map(|name| stock[name].as_i64());
    assert_eq!(units, [1, 0, 3, 4].map(Some), "{stock}");
    let audit = terminal.json(DONE, "audit sneaker --records").await;
    assert_eq!(
        (&audit["verdict"], &audit["oversold_units"]),
        (&json!("SOUND"), &json!(0))
    );
    assert_eq!(audit["records"]["sold"], 3);
}

#[tokio::test]
async fn units_come_back_and_totals_are_set() {
    let terminal = Terminal::new().await;
    terminal
        .json(DONE, "item create gift --stock 5 --sell-at-once")
        .await;
    let sold = terminal.json(DONE, "reserve gift ada --quantity 3").await;
    let id = sold["reservation"]["reservation_id"].as_str().unwrap();
    let back = terminal
        .json(DONE, &format!("return {id} --quantity 2"))
        .await;
    assert_eq!(back["reservation"]["returned_quantity"], 2);
    let again = format!(
        "return {id} --quantity 2 --return-id {}",
        back["return_id"].as_str().unwrap()
    );
    let replayed = terminal.json(DONE, &again).await;
    assert_eq!(replayed["reservation"]["returned_quantity"], 2);
    let request = sold["request_id"].as_str().unwrap();
    let by_key = format!("return --item gift --buyer ada --request-id {request} --quantity");
    let broken = terminal.json(DONE, &format!("{by_key} 1 --discard")).await;
    assert_eq!(broken["reservation"]["returned_quantity"], 3);
    let error = terminal.error(REFUSED, &format!("{by_key} 1")).await;
    assert_eq!(error["reason"], "RETURN_TOO_LARGE");
    assert!(error["metadata"]["return_id"].is_string(), "{error}");

    let error = terminal
        .error(REFUSED, "stock set gift 9 --expected 4")
        .await;
    assert_eq!(error["reason"], "TOTAL_MISMATCH");
    let set = terminal
        .json(DONE, "stock set gift 9 --expected 5 --reason delivery")
        .await;
    assert_eq!(
        (&set["stock"]["total"], &set["replayed"]),
        (&json!(9), &json!(false))
    );
    let again = format!(
        "stock set gift 9 --expected 5 --request-id {}",
        set["request_id"].as_str().unwrap()
    );
    assert_eq!(terminal.json(DONE, &again).await["replayed"], true);
    let audit = terminal.json(DONE, "audit gift --records").await;
    assert_eq!(audit["verdict"], "SOUND");
}

#[tokio::test]
async fn what_cannot_be_undone_is_asked_for() {
    let terminal = Terminal::new().await;
    terminal.json(DONE, "item create gift --stock 5").await;
    // Nobody is there to answer.
    for line in [
        "item close gift",
        "item delete gift",
        "stripes release 7 --freeze-id f --reason r --accept-loss",
    ] {
        let error = terminal.error(USAGE, line).await;
        assert_eq!(error["reason"], "USAGE", "{error}");
        assert!(
            error["message"].as_str().unwrap().contains("--yes"),
            "{error}"
        );
    }
    assert_eq!(terminal.json(DONE, "item get gift").await["state"], "OPEN");
    let closed = terminal.json(DONE, "item close gift --yes").await;
    assert_eq!(closed["state"], "CLOSED");

    let held = terminal.json(DONE, "item create held --stock 1").await;
    terminal.json(DONE, "reserve held ada").await;
    let error = terminal.error(REFUSED, "item delete held --yes").await;
    assert_eq!(error["reason"], "UNITS_HELD");
    let other = held["version"].as_i64().unwrap() + 1;
    let stale = format!("item delete held --force --expected-version {other} --yes");
    let error = terminal.error(REFUSED, &stale).await;
    assert_eq!(error["reason"], "VERSION_MISMATCH");
    let deleted = terminal.json(DONE, "item delete held --force --yes").await;
    assert_eq!(deleted, json!({"item_id": "held", "deleted": true}));
    terminal.error(REFUSED, "item get held").await;

    // An environment outlives the moment: it does not say yes.
    let mut command = holdfast!().command(&["item", "delete", "gift"]);
    command.env("HOLDFAST_ADDR", terminal.server.address());
    command.env("HOLDFAST_YES", "true");
    let ended = run(command).await;
    assert_eq!(ended.code, Some(USAGE), "{ended:#?}");
    assert!(ended.sentence().contains("--yes"), "{ended:#?}");
}

#[tokio::test]
async fn completions_are_scripts() {
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef holdfast"),
        ("fish", "complete -c holdfast"),
    ] {
        let ended = holdfast!().run(&["completions", shell]).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(DONE), ""), "{shell}");
        assert!(ended.stdout.contains(part), "{shell}");
        assert!(ended.stdout.contains("reservation"), "{shell}");
    }
}

async fn items_and_the_server_itself(store: Store) {
    let terminal = Terminal::over(&store).await;
    terminal.json(DONE, "item create a.1 --stock 1").await;
    terminal.json(DONE, "item create b.1 --stock 0").await;
    let paused = terminal
        .json(DONE, "item pause a.1 --reason inspection")
        .await;
    assert_eq!(paused["state_reason"], "inspection");
    assert_eq!(
        terminal.json(REFUSED, "reserve a.1 ada").await["outcome"],
        "SALE_PAUSED"
    );
    let listed = terminal.json(DONE, "item list --state paused").await;
    assert_eq!(listed["items"][0]["item_id"], "a.1");
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        terminal.json(DONE, "item resume a.1").await["state"],
        "OPEN"
    );
    assert_eq!(
        terminal.json(DONE, "item close a.1 --yes").await["state"],
        "CLOSED"
    );
    assert_eq!(
        terminal.error(REFUSED, "item resume a.1").await["reason"],
        "ITEM_CLOSED"
    );
    assert_eq!(terminal.json(DONE, "item get a.1").await["state"], "CLOSED");
    let listed = terminal.json(DONE, "item list --prefix b.").await;
    assert_eq!(listed["items"][0]["item_id"], "b.1");

    // Several at once: one that fails is told, and spoils no other.
    let ended = terminal
        .run("stock get b.1 nothing a.1 --output json")
        .await;
    assert_eq!(ended.code, Some(REFUSED), "{ended:#?}");
    assert_eq!(error_of(&ended)["reason"], "ITEM_NOT_FOUND");
    let stocks = ended.json();
    let shown: Vec<_> = stocks["stocks"].as_array().unwrap().iter().collect();
    assert_eq!(
        shown
            .iter()
            .map(|stock| &stock["item_id"])
            .collect::<Vec<_>>(),
        ["b.1", "a.1"]
    );

    let status = terminal.json(DONE, "status").await;
    let durability = store.durability().as_str_name();
    let durability = durability.trim_start_matches("DURABILITY_");
    assert_eq!(
        (&status["store_kind"], &status["durability"]),
        (&json!(store.kind()), &json!(durability))
    );
    assert_eq!(
        (&status["draining"], &status["serving_stripes"]),
        (&json!(false), &json!(64))
    );
    for service in ["", "liveness", "store"] {
        let health = terminal.json(DONE, &format!("health {service}")).await;
        assert_eq!(health["status"], "SERVING");
    }
    terminal.error(REFUSED, "health no.such.Service").await;
}

#[tokio::test]
async fn what_people_read() {
    let terminal = Terminal::new().await;
    let created = terminal.run("item create sneaker --stock 1").await;
    assert_eq!(created.code, Some(DONE), "{created:#?}");
    let yes = terminal.run("reserve sneaker ada").await;
    assert!(
        yes.stdout.starts_with("reserved 1 unit of sneaker"),
        "{yes:#?}"
    );
    let no = terminal.run("reserve sneaker bob").await;
    assert_eq!(no.code, Some(REFUSED));
    assert!(
        no.stdout
            .starts_with("sneaker is sold out; 1 unit may come back"),
        "{no:#?}"
    );
    let unknown = terminal.run("item get nothing").await;
    assert_eq!((unknown.code, &*unknown.stdout), (Some(REFUSED), ""));
    assert!(unknown.sentence().contains("nothing"), "{unknown:#?}");
}

#[tokio::test]
async fn wrong_usage_is_told_with_what_is_right() {
    let terminal = Terminal::new().await;
    terminal.json(DONE, "item create sneaker --stock 5").await;
    for (line, field) in [
        ("reserve sneaker ada --quantity 0", "quantity"),
        ("reserve sneaker ada --request-id 7", "request_id"),
        ("confirm not-an-id", "reservation_id"),
        ("stock adjust sneaker 0", "delta"),
    ] {
        let error = terminal.error(USAGE, line).await;
        assert_eq!(
            (&error["code"], &error["reason"]),
            (&json!("INVALID_ARGUMENT"), &json!("FIELD_INVALID"))
        );
        assert_eq!(error["fields"][0]["field"], field, "{error}");
    }
    let mut command = holdfast!().command(&["status", "--output", "json"]);
    command.env("HOLDFAST_ADRR", terminal.server.address());
    let ended = run(command).await;
    assert_eq!(
        (ended.code, &*ended.stdout),
        (Some(USAGE), ""),
        "{ended:#?}"
    );
    let error = error_of(&ended);
    assert_eq!(error["reason"], "USAGE");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("HOLDFAST_ADDR?"),
        "{error}"
    );

    // The right name is read, and so are those that Kubernetes injects not.
    let mut command = holdfast!().command(&["status"]);
    command.env("HOLDFAST_ADDR", terminal.server.address());
    command.env("HOLDFAST_PORT_50051_TCP_ADDR", "10.0.0.7");
    let ended = run(command).await;
    assert_eq!(ended.code, Some(DONE), "{ended:#?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_decision() {
    let mut terminal = Terminal::new().await;
    terminal.server.kill_9();
    for line in ["status", "health", "reserve sneaker ada", "item list"] {
        let error = terminal
            .error(UNDECIDED, &format!("{line} --timeout 2s"))
            .await;
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(terminal.server.authority()),
            "{line}: {error}"
        );
    }
    for address in ["http://", "ftp://127.0.0.1:50051", "not an address"] {
        let ended = holdfast!().run(&["status", "--addr", address]).await;
        assert_eq!(
            (ended.code, &*ended.stdout),
            (Some(USAGE), ""),
            "{address}: {ended:#?}"
        );
        ended.sentence();
    }
}
