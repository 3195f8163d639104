//! A password is in no log, no message, and nothing that is printed for
//! programmers: not while all is well, and not when it is wrong.

use std::fmt::{Debug, Write};
use std::sync::Mutex;

use shards::redis::{Credentials, Options, Redis};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::sale::{Sale, single};
use crate::servers::Node;

const RIGHT: &str = "correct-horse-battery-staple";
const WRONG: &str = "incorrect-horse-battery-staple";

/// All that this process logged, at every level, whatever test it was.
static LOGGED: Mutex<String> = Mutex::new(String::new());

struct Everything;

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Line(&mut LOGGED.lock().unwrap()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Line(&mut LOGGED.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut logged = LOGGED.lock().unwrap();
        event.record(&mut Line(&mut logged));
        logged.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_password_is_said_nowhere() {
    tracing::subscriber::set_global_default(Everything).unwrap();
    let node = Node::start();
    let mut admin = node.connect().unwrap();
    let password = format!(">{RIGHT}");
    let rules = ["on", &password, "~holdfast:*", "+@all"];
    node.ask(&[&["ACL", "SETUSER", "ada"][..], &rules].concat());
    admin
        .command(&["CONFIG", "SET", "requirepass", "other"])
        .unwrap();
    let with = |username: Option<&str>, password: &str| Options {
        credentials: Some(Credentials {
            username: username.map(str::to_owned),
            password: password.to_owned(),
        }),
        ..single(&node)
    };
    let mut said = String::new();
    for username in [Some("ada"), None] {
        let options = with(username, WRONG);
        let _ = write!(said, "{options:?}");
        let error = Redis::open(options).unwrap_err();
        let _ = write!(said, "{error} {error:?}");
    }
    let options = with(Some("ada"), RIGHT);
    let _ = write!(said, "{options:?}");
    let sale = Sale::start(options).await;
    let _ = write!(said, "{:?}", sale.server.store);
    sale.during(async {
        sale.granted_more(20).await;
        admin
            .command(&["ACL", "SETUSER", "ada", "resetpass", ">new"])
            .unwrap();
        admin.command(&["CLIENT", "KILL", "USER", "ada"]).unwrap();
        sale.told_of("WRONGPASS", |told| told.is_unavailable("WRONGPASS"))
            .await;
        admin
            .command(&["ACL", "SETUSER", "ada", &password])
            .unwrap();
        sale.granted_more(20).await;
    })
    .await;
    let _ = write!(said, "{:?}", sale.told());
    said += &LOGGED.lock().unwrap();
    // It was heard at all.
    for word in ["ada", "WRONGPASS", "not connected"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    for secret in [RIGHT, WRONG] {
        assert!(!said.contains(secret), "{secret} is in {said}");
    }
}
