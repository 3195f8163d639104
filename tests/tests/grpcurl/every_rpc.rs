//! Every rpc by its name, as somebody at a terminal would call it. One that is
//! added to the contract and not here turns the test red.

use std::collections::BTreeSet;

use e2e::tools::grpcurl;
use e2e::{Ended, Ids, Server, holdfast, poll_until};
use serde_json::{Deserializer, Value, json};

const PACKAGE: &str = "holdfast.inventory.v1";
const SERVICES: [&str; 2] = ["InventoryService", "AdminService"];
/// grpcurl's exit code: 64 and the status.
const DEADLINE_EXCEEDED: i32 = 64 + 4;

/// Somebody at a terminal.
struct Terminal {
    server: Server,
    /// What was called, as `Service.Method`.
    called: BTreeSet<String>,
    ids: Ids,
}

/// The messages of a reply, one after the other.
#[track_caller]
fn messages(stdout: &str) -> Vec<Value> {
    let all = Deserializer::from_str(stdout).into_iter();
    all.collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error} in: {stdout}"))
}

impl Terminal {
    async fn run(&mut self, method: &str, args: &[&str], data: &str) -> Ended {
        let name = format!("{PACKAGE}.{method}");
        let call = ["-plaintext", "-d", data, self.server.authority(), &name];
        self.called.insert(method.to_owned());
        grpcurl(&[args, &call[..]].concat()).await
    }

    /// Calls; the only message of the reply.
    async fn call(&mut self, method: &str, message: Value) -> Value {
        let ended = self.run(method, &[], &message.to_string()).await;
        assert_eq!(ended.code, Some(0), "{method}: {ended:#?}");
        match &messages(&ended.stdout)[..] {
            [reply] => reply.clone(),
            others => panic!("{method}: not one message: {others:?}"),
        }
    }

    fn key(&mut self, item: &str) -> Value {
        json!({"item_id": item, "buyer_id": self.ids.buyer(), "request_id": self.ids.request()})
    }

    /// Reserves one unit; its reservation id.
    async fn hold(&mut self) -> String {
        let mut ask = self.key("sneaker");
        ask["quantity"] = json!(1);
        let reply = self.call("InventoryService.Reserve", ask).await;
        assert_eq!(reply["outcome"], "RESERVE_OUTCOME_RESERVED", "{reply}");
        let id = &reply["reservation"]["reservationId"];
        id.as_str().expect("an id").to_owned()
    }

    /// The methods that reflection tells of.
    async fn listed(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for service in SERVICES {
            let service = format!("{PACKAGE}.{service}");
            let args = ["-plaintext", self.server.authority(), "list", &service];
            let ended = grpcurl(&args).await;
            assert_eq!(ended.code, Some(0), "{ended:#?}");
            let prefix = format!("{PACKAGE}.");
            let names = ended.stdout.lines().map(|line| line.strip_prefix(&prefix));
            all.extend(names.map(|name| name.expect("a method of ours").to_owned()));
        }
        all
    }
}

/// What is there at these paths, such as `stock.held`.
#[track_caller]
fn shows(reply: &Value, expected: &[(&str, &str)]) {
    for (path, value) in expected {
        let pointer = format!("/{}", path.replace('.', "/"));
        let found = reply.pointer(&pointer).map(|found| match found {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        assert_eq!(found.as_deref(), Some(*value), "{path} in {reply:#}");
    }
}

async fn set_up(at: &mut Terminal) {
    let item = json!({"item_id": "sneaker", "shard_count": 2, "max_units_per_buyer": 5,
        "max_hold": "3600s"});
    let create = json!({"item": item, "initial_stock": "0", "request_id": at.ids.request()});
    let reply = at.call("AdminService.CreateItem", create).await;
    shows(
        &reply,
        &[("item.state", "ITEM_STATE_OPEN"), ("item.holdTtl", "300s")],
    );
    let stock = json!({"item_id": "sneaker"});
    let reply = at.call("InventoryService.GetStock", stock).await;
    // Zeros that mean something are printed.
    shows(
        &reply,
        &[
            ("stock.available", "0"),
            ("stock.held", "0"),
            ("stock.sold", "0"),
            ("stock.total", "0"),
            ("stock.phase", "SALE_PHASE_SOLD_OUT"),
        ],
    );
    let mut ask = at.key("sneaker");
    ask["quantity"] = json!(1);
    let reply = at.call("InventoryService.Reserve", ask).await;
    shows(
        &reply,
        &[
            ("outcome", "RESERVE_OUTCOME_SOLD_OUT"),
            ("availableUnits", "0"),
            ("heldUnits", "0"),
        ],
    );
    let adjust = json!({"item_id": "sneaker", "delta": "20", "request_id": at.ids.request()});
    let reply = at.call("AdminService.AdjustStock", adjust).await;
    shows(&reply, &[("appliedDelta", "20"), ("stock.held", "0")]);
    let take = json!({"item_id": "sneaker", "delta": "-999", "allow_partial": true,
        "request_id": at.ids.request()});
    at.call("AdminService.AdjustStock", take).await;
    let take = json!({"item_id": "sneaker", "delta": "-999", "allow_partial": true,
        "request_id": at.ids.request()});
    let reply = at.call("AdminService.AdjustStock", take).await;
    shows(&reply, &[("appliedDelta", "0"), ("stock.total", "0")]);
    let set = json!({"item_id": "sneaker", "total": "100", "expected_total": "0",
        "request_id": at.ids.request()});
    let reply = at.call("AdminService.SetStock", set).await;
    shows(&reply, &[("stock.total", "100"), ("stock.sold", "0")]);
}

async fn one_by_one(at: &mut Terminal) {
    let id = at.hold().await;
    let extend = json!({"reservation_id": id, "hold_for": "600s"});
    let reply = at.call("InventoryService.Extend", extend).await;
    shows(&reply, &[("reservation.state", "RESERVATION_STATE_HELD")]);
    let confirm = json!({"reservation_id": id});
    let reply = at.call("InventoryService.Confirm", confirm).await;
    shows(&reply, &[("outcome", "CONFIRM_OUTCOME_CONFIRMED")]);
    let back = json!({"reservation_id": id, "request_id": at.ids.request(), "quantity": 1});
    let reply = at.call("InventoryService.ReturnUnits", back).await;
    shows(&reply, &[("reservation.returnedQuantity", "1")]);
    let get = json!({"reservation_id": id});
    let reply = at.call("InventoryService.GetReservation", get).await;
    shows(&reply, &[("reservation.reservationId", &id)]);
    // By key, before anything arrived.
    let cancel = json!({"key": at.key("sneaker")});
    let reply = at.call("InventoryService.Cancel", cancel).await;
    shows(
        &reply,
        &[("reservation.state", "RESERVATION_STATE_CANCELLED")],
    );
}

async fn in_batches(at: &mut Terminal) {
    let mut good = at.key("sneaker");
    good["quantity"] = json!(1);
    let bad = at.key("sneaker");
    let batch = json!({"requests": [good, bad]});
    let reply = at.call("InventoryService.BatchReserve", batch).await;
    shows(
        &reply,
        &[
            ("results.0.response.outcome", "RESERVE_OUTCOME_RESERVED"),
            ("results.1.error.code", "3"),
        ],
    );
    let id = &reply["results"][0]["response"]["reservation"]["reservationId"];
    let one = json!({"requests": [{"reservation_id": id}]});
    let reply = at.call("InventoryService.BatchConfirm", one.clone());
    let path = "results.0.response.outcome";
    shows(&reply.await, &[(path, "CONFIRM_OUTCOME_CONFIRMED")]);
    let reply = at.call("InventoryService.BatchGetReservations", one.clone());
    let path = "results.0.response.reservation.state";
    shows(&reply.await, &[(path, "RESERVATION_STATE_CONFIRMED")]);
    let reply = at.call("InventoryService.BatchCancel", one).await;
    let reason = "results.0.error.details.0.reason";
    shows(&reply, &[(reason, "RESERVATION_CONFIRMED")]);
    let items = json!({"item_ids": ["sneaker", "nothing"]});
    let reply = at.call("InventoryService.BatchGetStock", items).await;
    shows(
        &reply,
        &[
            ("results.0.stock.held", "0"),
            ("results.1.error.details.0.reason", "ITEM_NOT_FOUND"),
        ],
    );
}

async fn in_streams(at: &mut Terminal) {
    let mut both = String::new();
    for call_id in ["0", "18446744073709551615"] {
        let mut ask = at.key("sneaker");
        ask["quantity"] = json!(1);
        both += &json!({"call_id": call_id, "request": ask}).to_string();
    }
    let ended = at.run("InventoryService.ReserveStream", &[], &both).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let answers = messages(&ended.stdout);
    assert_eq!(answers.len(), 2, "{answers:?}");
    for answer in &answers {
        let outcome = "result.response.outcome";
        shows(answer, &[(outcome, "RESERVE_OUTCOME_RESERVED")]);
    }

    let watch = json!({"item_ids": ["sneaker"]}).to_string();
    let news = poll_until("news", async || {
        let args = ["-max-time", "1"];
        let ended = at.run("InventoryService.WatchStock", &args, &watch).await;
        assert_eq!(ended.code, Some(DEADLINE_EXCEEDED), "{ended:#?}");
        let first = messages(&ended.stdout).into_iter().next();
        first.ok_or("none before the time was over")
    });
    shows(
        &news.await,
        &[("result.itemId", "sneaker"), ("result.stock.held", "2")],
    );
}

async fn look_after(at: &mut Terminal) {
    let sneaker = || json!({"item_id": "sneaker"});
    let reply = at.call("AdminService.GetItem", sneaker()).await;
    shows(&reply, &[("item.shardCount", "2")]);
    let reply = at.call("AdminService.ListItems", json!({})).await;
    shows(&reply, &[("items.0.itemId", "sneaker")]);
    // This grpcurl does not know the usual JSON of a field mask.
    let update = json!({"item": {"item_id": "sneaker", "display_name": "Sneaker 42"},
        "update_mask": {"paths": ["display_name"]}, "reason": "typing error"});
    let reply = at.call("AdminService.UpdateItem", update).await;
    shows(&reply, &[("item.displayName", "Sneaker 42")]);
    let reply = at.call("AdminService.PauseItem", sneaker()).await;
    shows(&reply, &[("item.state", "ITEM_STATE_PAUSED")]);
    let explain = json!({"item_id": "sneaker", "buyer_id": "ada"});
    let reply = at.call("AdminService.ExplainReserve", explain).await;
    shows(
        &reply,
        &[
            ("outcome", "RESERVE_OUTCOME_SALE_PAUSED"),
            ("buyerUnits", "0"),
        ],
    );
    let reply = at.call("AdminService.ResumeItem", sneaker()).await;
    shows(&reply, &[("item.state", "ITEM_STATE_OPEN")]);
    let list = json!({"item_id": "sneaker", "states": ["RESERVATION_STATE_HELD"]});
    let reply = at.call("AdminService.ListReservations", list).await;
    let state = "reservations.0.state";
    shows(&reply, &[(state, "RESERVATION_STATE_HELD")]);
    let audit = json!({"item_id": "sneaker", "level": "AUDIT_LEVEL_RECORDS"});
    let reply = at.call("AdminService.AuditItem", audit).await;
    shows(
        &reply,
        &[
            ("verdict", "AUDIT_VERDICT_SOUND"),
            ("oversoldUnits", "0"),
            ("counters.underWay", "0"),
            ("counters.surplus", "0"),
        ],
    );
    let reply = at.call("AdminService.ListStripes", json!({})).await;
    let state = "stripes.0.state";
    shows(&reply, &[(state, "STRIPE_STATE_SERVING")]);
    // Nothing is frozen, so there is nothing to be done.
    let release = json!({"stripe": 0, "freeze_id": "0000000000000001", "accept_loss": true,
        "reason": "to see"});
    let reply = at.call("AdminService.ReleaseStripe", release).await;
    shows(&reply, &[("stripe.state", "STRIPE_STATE_SERVING")]);
    let reply = at.call("AdminService.GetStatus", json!({})).await;
    shows(
        &reply,
        &[
            ("servingStripes", "64"),
            ("unavailableStripes", "0"),
            ("frozenStripes", "0"),
        ],
    );
    let reply = at.call("AdminService.CloseItem", sneaker()).await;
    shows(&reply, &[("item.state", "ITEM_STATE_CLOSED")]);
    let delete = json!({"item_id": "sneaker", "force": true});
    let reply = at.call("AdminService.DeleteItem", delete).await;
    assert_eq!(reply, json!({}));
}

#[tokio::test]
async fn calls_every_rpc_by_its_name() {
    let mut at = Terminal {
        server: Server::start(holdfast!()).await,
        called: BTreeSet::new(),
        ids: Ids::seeded(),
    };
    set_up(&mut at).await;
    one_by_one(&mut at).await;
    in_batches(&mut at).await;
    in_streams(&mut at).await;
    look_after(&mut at).await;
    assert_eq!(
        at.called,
        at.listed().await,
        "called here, and served by this server"
    );
}
