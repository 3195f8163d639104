use std::fs;

use super::*;
use crate::config::Flags;

type Given<'a> = &'a [(&'static str, &'a str)];

fn store(flags: Given<'_>, names: Given<'_>, text: &str) -> Result<StoreConfig, String> {
    let (flags, environment) = (Flags::of(flags), Environment::of(names));
    let file = File::parse("h.toml", text).unwrap();
    let layers = Layers::with_file(&flags, &environment, file);
    read(&layers).map_err(|failure| failure.to_string())
}

#[track_caller]
fn redis(flags: Given<'_>, names: Given<'_>, text: &str) -> Options {
    match store(flags, names, text) {
        Ok(StoreConfig::Redis(options)) => options,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(flags: Given<'_>, names: Given<'_>, text: &str, parts: &[&str]) {
    let error = store(flags, names, text).unwrap_err();
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

const PLAIN: (&str, &str) = ("store", "redis://h:1");
const TLS: (&str, &str) = ("store", "rediss-cluster://a,b:7");

#[test]
fn a_store_in_redis_by_every_layer() {
    let options = redis(&[PLAIN], &[], "");
    assert_eq!(options.address.to_string(), "redis://h:1");
    assert_eq!(options.acknowledge, None);
    assert!(options.credentials.is_none() && options.tls.ca.is_none());
    assert!(!options.init && !options.accept_unsafe);
    let names = [
        ("HOLDFAST_STORE", "redis-cluster://a:1,b:2"),
        ("HOLDFAST_INIT_STORE", "yes"),
        ("HOLDFAST_STORE_USERNAME", "ada"),
        ("HOLDFAST_STORE_PASSWORD", "hunter2"),
    ];
    let text = "durability = \"replicated-strict\"\naccept-unsafe-store = true\n";
    let options = redis(&[], &names, text);
    assert!(options.address.cluster && options.init && options.accept_unsafe);
    assert_eq!(options.acknowledge, Some(Acknowledge::ReplicatedStrict));
    let credentials = options.credentials.unwrap();
    assert_eq!(credentials.username.as_deref(), Some("ada"));
    assert_eq!(credentials.password, "hunter2");
    let options = redis(
        &[PLAIN],
        &[],
        "durability = \"local\"\nstore-password = \"hunter2\"",
    );
    assert_eq!(options.acknowledge, Some(Acknowledge::Local));
    let credentials = options.credentials.unwrap();
    assert_eq!(
        (credentials.username, &*credentials.password),
        (None, "hunter2")
    );
}

#[test]
fn what_is_for_another_store_is_refused_where_it_seems_to_be_in_force() {
    let of_redis: Given<'_> = &[
        ("durability", "replicated"),
        ("store-username", "ada"),
        ("store-password-file", "/x"),
        ("store-ca", "/x"),
        ("store-client-cert", "/x"),
        ("store-client-key", "/x"),
    ];
    for given in of_redis {
        let place = format!("--{} {:?}: ", given.0, given.1);
        let parts = [&*place, "the embedded one", "--store"];
        refused(&[*given], &[], "", &parts);
        refused(&[("store", "embedded"), *given], &[], "", &parts);
    }
    let password = ("HOLDFAST_STORE_PASSWORD", "hunter2");
    refused(
        &[],
        &[password],
        "",
        &["HOLDFAST_STORE_PASSWORD=(secret): "],
    );
    let file = "store = \"redis://h\"\ndurability = \"local\"";
    refused(
        &[],
        &[
            ("HOLDFAST_STORE", "embedded"),
            ("HOLDFAST_DURABILITY", "local"),
        ],
        file,
        &["HOLDFAST_DURABILITY", "the embedded one"],
    );
    // What a weaker place says of its own store is not in force.
    let kept = store(&[("store", "embedded")], &[], file);
    assert!(matches!(kept, Ok(StoreConfig::Embedded { .. })), "{kept:?}");
    // To make a store is what the embedded one does anyway.
    let made = store(
        &[("init-store", "true"), ("accept-unsafe-store", "true")],
        &[],
        "",
    );
    assert!(matches!(made, Ok(StoreConfig::Embedded { .. })), "{made:?}");

    for given in [("data-dir", "/x"), ("disk-reserve", "1GiB")] {
        let place = format!("--{} {:?}: ", given.0, given.1);
        let parts = [&*place, "--store \"redis://h:1\" names another"];
        refused(&[PLAIN, given], &[], "", &parts);
    }
    // An image names a directory for those who name no store.
    redis(
        &[PLAIN],
        &[("HOLDFAST_DATA_DIR", "/x")],
        "disk-reserve = \"1GiB\"",
    );
}

#[test]
fn files_of_tls_are_for_tls_and_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.pem");
    fs::write(&path, "").unwrap();
    let file = path.to_str().unwrap();
    let all = [
        ("store-ca", file),
        ("store-client-cert", file),
        ("store-client-key", file),
    ];
    let options = redis(&[&[TLS][..], &all].concat(), &[], "");
    assert_eq!(options.tls.ca.as_ref(), Some(&path));
    assert_eq!(options.tls.client, Some((path.clone(), path.clone())));
    for given in all {
        let place = format!("--{} ", given.0);
        let parts = [&*place, "redis://h:1 is not reached over TLS", "rediss"];
        refused(&[PLAIN, given], &[], "", &parts);
        let missing = [
            ("store-client-cert", "/no/x"),
            ("store-client-key", "/no/x"),
        ];
        let missing = match given.0 {
            "store-ca" => vec![TLS, ("store-ca", "/no/x")],
            _ => [&[TLS][..], &missing].concat(),
        };
        refused(
            &missing,
            &[],
            "",
            &["\"/no/x\": the file cannot be read: it is not there"],
        );
    }
    for (there, other) in [
        ("store-client-cert", "store-client-key"),
        ("store-client-key", "store-client-cert"),
    ] {
        let sentence = format!("of no use alone: set {other} too");
        refused(&[TLS, (there, file)], &[], "", &[there, &sentence]);
    }
    // Not in force, and not asked for either.
    redis(
        &[PLAIN],
        &[],
        "store = \"rediss://h\"\nstore-ca = \"/no/x\"",
    );
}

#[test]
fn a_password_comes_from_one_place_and_a_user_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    fs::write(&path, "hunter2\n").unwrap();
    let file = ("store-password-file", path.to_str().unwrap());
    let options = redis(&[PLAIN, file], &[], "");
    assert_eq!(options.credentials.unwrap().password, "hunter2");

    let password = [("HOLDFAST_STORE_PASSWORD", "hunter2")];
    let parts = [
        "HOLDFAST_STORE_PASSWORD=(secret): ",
        "--store-password-file",
        "leave one",
    ];
    refused(&[PLAIN, file], &password, "", &parts);
    refused(
        &[PLAIN, ("store-username", "ada")],
        &[],
        "",
        &[
            "--store-username \"ada\": ",
            "HOLDFAST_STORE_PASSWORD",
            "--store-password-file",
        ],
    );
    refused(
        &[PLAIN, ("store-password-file", "/no/x")],
        &[],
        "",
        &["--store-password-file \"/no/x\": ", "it is not there"],
    );
    fs::write(&path, "\n").unwrap();
    refused(
        &[PLAIN, file],
        &[],
        "",
        &["--store-password-file", "it is empty"],
    );
    refused(
        &[PLAIN, ("store-username", "a b")],
        &[],
        "",
        &["name a user"],
    );
}

#[test]
fn a_wrong_address_is_told_without_its_password() {
    for address in [
        "redis://ada:hunter2@h:1",
        "ada:hunter2@h",
        "redis://h?auth=hunter2",
    ] {
        let parts = ["(secret)", "HOLDFAST_STORE_PASSWORD"];
        refused(&[("store", address)], &[], "", &parts);
        refused(&[], &[("HOLDFAST_STORE", address)], "", &parts);
        refused(&[], &[], &format!("store = {address:?}"), &parts);
    }
}

#[test]
fn a_command_names_a_store_by_its_flags_only() {
    let named = |flags: Given<'_>, names: Given<'_>| {
        let flags = StoreFlags(Flags::of(flags));
        named(&flags, &Environment::of(names)).map_err(|failure| failure.to_string())
    };
    let names = [
        ("HOLDFAST_STORE", "redis://production"),
        ("HOLDFAST_STORE_PASSWORD", "hunter2"),
        ("HOLDFAST_DATA_DIR", "/x"),
    ];
    assert!(named(&[], &names).unwrap().is_none());
    assert!(named(&[("store", "embedded")], &[]).unwrap().is_none());
    let error = named(&[("durability", "local")], &names).err().unwrap();
    assert!(error.contains("the embedded one"), "{error}");
    let flags = [("store", "redis-cluster://a,b:7"), ("durability", "local")];
    let store = named(&flags, &names).unwrap().unwrap();
    assert_eq!(store.address.to_string(), "redis-cluster://a:6379,b:7");
    let expected = [
        ("HOLDFAST_DURABILITY", "local"),
        ("HOLDFAST_STORE_PASSWORD", "hunter2"),
    ];
    let owned = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(store.variables, owned);
}

#[test]
fn switches_are_on_or_off() {
    for (text, on) in [
        ("true", true),
        ("1", true),
        ("On", true),
        ("FALSE", false),
        ("no", false),
    ] {
        assert_eq!(parse_switch(text), Ok(on), "{text}");
    }
    for text in ["", "2", "yep"] {
        assert!(parse_switch(text).is_err(), "{text}");
    }
}
