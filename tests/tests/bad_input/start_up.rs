//! What keeps a server from starting: one sentence, and nothing is touched.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use e2e::{Ended, holdfast, item, ok, run};

use crate::{Row, Store, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row(
            "data directory locked by another process, not writable, full, from a newer version; damaged file",
            data_directory,
        )
        // What it is in Redis is told in `start_up_redis`.
        .on(&[Store::Embedded]),
        row(
            "port in use (also by another Holdfast); unknown flag, environment name or config key; unreadable config file; TTL without unit",
            settings,
        )
        // Nothing gets as far as a store.
        .on(&[Store::Embedded]),
        row(
            "an address that is no store's, or has a password in it; a password as a flag, in a file that is missing, unreadable or empty, or twice; settings of another store",
            store_settings,
        )
        // Nor here.
        .on(&[Store::Embedded]),
        row("a store that nobody listens for", no_store).on(&[Store::Embedded]),
    ]
}

/// Where SQLite's format keeps the number of the store's format.
const USER_VERSION: std::ops::Range<usize> = 60..64;
/// Where it keeps the size of a page.
const PAGE_SIZE: usize = 16;
/// Bits of a store that are turned over, one at a time.
const FLIPS: u32 = 60;

async fn serve(dir: &Path) -> Ended {
    let dir = dir.to_str().unwrap();
    let free = "127.0.0.1:0";
    let ports = ["--listen", free, "--http-listen", free];
    holdfast!()
        .run(&[&["serve", "--data-dir", dir][..], &ports].concat())
        .await
}

/// It did not start, and said why in one sentence with these parts.
#[track_caller]
pub(crate) fn refused(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!((ended.code, &*ended.stdout), (Some(code), ""), "{ended:#?}");
    let sentence = ended.sentence();
    for part in parts {
        assert!(sentence.contains(part), "{part:?} is not in: {sentence}");
    }
    assert!(!sentence.contains("panicked"), "{sentence}");
}

/// Every file of the directory but the lock.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| !path.ends_with("lock")).collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// Where the rows lie in the file: by SQLite's format at the ends of the pages
/// that are leaves of a table. The first page has the schema.
fn rows_of(file: &[u8]) -> Vec<usize> {
    const LEAF: u8 = 0x0d;
    let number = |at: usize| usize::from(u16::from_be_bytes([file[at], file[at + 1]]));
    let page_size = number(PAGE_SIZE);
    let pages = (page_size..file.len()).step_by(page_size);
    let leaves = pages.filter(|page| file[*page] == LEAF);
    let rows = leaves.flat_map(|page| page + number(page + 5)..page + page_size);
    rows.collect()
}

async fn data_directory(world: World) {
    let World {
        mut server,
        shop,
        mut ids,
        ..
    } = world;
    shop.create(item("it"), 100).await;
    for _ in 0..50 {
        ok(shop.reserve(&ids.key("it"), 1).await);
    }
    let dir = server.data_dir().to_owned();

    let locked = [
        "in use by another process",
        "--data-dir",
        dir.to_str().unwrap(),
    ];
    refused(&serve(&dir).await, 3, &locked);
    assert_eq!(
        shop.units("it").await,
        [50, 50, 0],
        "the first one serves on"
    );

    server.sigterm();
    server.assert_clean_exit().await;
    let db = dir.join("holdfast.db");
    let good = fs::read(&db).unwrap();
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let newer = broken(&|bytes| bytes[USER_VERSION].copy_from_slice(&99_u32.to_be_bytes()));
    let cut = broken(&|bytes| bytes.truncate(bytes.len() / 2));
    let damaged: &[&str] = &["damaged", "nothing was changed"];
    for (bytes, parts) in [
        (newer, &["format 99", "later"][..]),
        (cut, damaged),
        (Vec::new(), damaged),
        (b"something else altogether".to_vec(), damaged),
    ] {
        fs::write(&db, bytes).unwrap();
        let before = contents(&dir);
        refused(&serve(&dir).await, 3, parts);
        assert!(contents(&dir) == before, "something was changed: {parts:?}");
    }
    // SQLite itself notices few of these: a single bit in a row.
    let rows = rows_of(&good);
    for _ in 0..FLIPS {
        let (at, bit) = (*ids.one_of(&rows), ids.between(0..8));
        fs::write(&db, broken(&|bytes| bytes[at] ^= 1 << bit)).unwrap();
        let ended = serve(&dir).await;
        assert_eq!(ended.code, Some(3), "bit {bit} of byte {at}: {ended:#?}");
        refused(&ended, 3, damaged);
    }
    fs::write(&db, good).unwrap();
    let server = server.restart().await;
    assert_eq!(server.shop().units("it").await, [50, 50, 0]);

    // Nobody can make a directory there, whoever runs this.
    refused(
        &serve(Path::new("/sys/holdfast-data")).await,
        3,
        &["cannot be written", "--data-dir"],
    );
    refused(&serve(&db).await, 3, &["/holdfast.db"]);
}

async fn settings(World { server, .. }: World) {
    let taken = server.authority();
    let port = taken.rsplit(':').next().unwrap();
    let other = server.data_dir().with_file_name("other");
    let other = other.to_str().unwrap();
    let second = holdfast!()
        .run(&["serve", "--listen", taken, "--data-dir", other])
        .await;
    refused(&second, 2, &["in use", port, "--listen"]);
    let taken = server.http_authority();
    let port = taken.rsplit(':').next().unwrap();
    let ports = ["--listen", "127.0.0.1:0", "--http-listen", taken];
    let second = holdfast!()
        .run(&[&["serve", "--data-dir", other][..], &ports].concat())
        .await;
    refused(&second, 2, &["in use", port, "--http-listen"]);
    assert!(!Path::new(other).exists(), "it got as far as its data");

    let wrong: [(&[&str], &[&str]); 6] = [
        (
            &["serve", "--listn", "127.0.0.1:0"],
            &["--listn", "--listen"],
        ),
        (&["serve", "--drain-grace", "5"], &["--drain-grace", "unit"]),
        (&["serve", "--listen", "50051"], &["--listen"]),
        (&["serv"], &["serv", "serve"]),
        (
            &["item", "create", "it", "--stock", "1", "--hold-ttl", "5"],
            &["--hold-ttl", "unit"],
        ),
        (&["serve", "--log", "server=loud"], &["--log"]),
    ];
    for (args, parts) in wrong {
        refused(&holdfast!().run(args).await, 2, parts);
    }
    for (name, value, nearest) in [
        ("HOLDFAST_LISTN", "127.0.0.1:0", "HOLDFAST_LISTEN"),
        ("HOLDFAST_DRAIN_GRACE_MS", "100", "HOLDFAST_DRAIN_GRACE"),
        ("HOLDFAST_DRAIN_GRACE", "5", "unit"),
        ("HOLDFAST_CONFIGURATION", "h.toml", "HOLDFAST_CONFIG"),
        ("HOLDFAST_CONFIG", "/no/such/holdfast.toml", "not there"),
    ] {
        let mut command = holdfast!().command(&["serve", "--data-dir", other]);
        command.env(name, value);
        refused(&run(command).await, 2, &[name, nearest]);
    }
    let (dir, file) = (Path::new(other), server.data_dir().with_file_name("h.toml"));
    in_a_file(dir, &file).await;
}

/// What is wrong with a file of settings is told with its line, by the server
/// and by who only checks; nothing is touched.
async fn in_a_file(dir: &Path, file: &Path) {
    let (data, path) = (dir.to_str().unwrap(), file.to_str().unwrap());
    let wrong: [(&[u8], &[&str]); 8] = [
        (
            b"listn = \"127.0.0.1:0\"",
            &["line 1", "listn", "mean listen?"],
        ),
        (b"\ndrain_grace = \"5s\"", &["line 2", "mean drain-grace?"]),
        (b"drain-grace = 5", &["line 1", "needs a unit", "5s"]),
        (b"disk-reserve = 64", &["line 1", "needs a unit", "64MiB"]),
        (b"log = \"info", &["line 1"]),
        (b"[serve]\nlog = \"info\"", &["line 1", "no setting serve"]),
        (b"workers = [1]", &["line 1", "no single value"]),
        (b"log = \"\xff\"", &["UTF-8"]),
    ];
    for (text, parts) in wrong {
        fs::write(file, text).unwrap();
        let serve = ["serve", "--config", path, "--data-dir", data];
        refused(
            &holdfast!().run(&serve).await,
            2,
            &[parts, &[path]].concat(),
        );
        let check = ["config", "check", "--config", path];
        refused(
            &holdfast!().run(&check).await,
            2,
            &[parts, &[path]].concat(),
        );
    }
    // A directory is no file.
    let serve = ["serve", "--config", "/", "--data-dir", data];
    refused(&holdfast!().run(&serve).await, 2, &["cannot be read"]);
    assert!(!dir.exists(), "it got as far as its data");
}

/// What somebody may have typed as a password; nothing ever says it again.
pub(crate) const PASSWORD: &str = "hunter2";

/// Refused by the server and by who only checks, and without the password.
async fn refused_by_both(args: &[&str], names: &[(&str, &str)], parts: &[&str]) {
    for command in [&["serve"][..], &["config", "check"]] {
        let mut command = holdfast!().command(&[command, args].concat());
        command.envs(names.iter().copied());
        let ended = run(command).await;
        refused(&ended, 2, parts);
        assert!(!ended.stderr.contains(PASSWORD), "{}", ended.stderr);
    }
}

async fn store_settings(World { server, .. }: World) {
    let redis = "redis://127.0.0.1:6379";
    let store = |address| ["--store", address];
    let into_secrets: &[&str] = &["HOLDFAST_STORE_PASSWORD", "--store-password-file"];
    for (address, parts) in [
        ("holdfast-data", &["embedded", "redis-cluster://"][..]),
        ("valkeys://h:1", &["valkeys://", "rediss://?"]),
        ("redis://a:1,b:2", &["redis-cluster://"]),
        ("redis://h:port", &["\"port\"", "65535"]),
        ("redis://h:1/0", &["database 0"]),
        ("redis://::1", &["brackets"]),
        ("redis-cluster://a,", &["comma"]),
        ("redis://ada:hunter2@h:1", into_secrets),
    ] {
        let parts = [parts, &["--store"]].concat();
        refused_by_both(&store(address), &[], &parts).await;
        let names = [("HOLDFAST_STORE", address)];
        refused_by_both(&[], &names, &["HOLDFAST_STORE="]).await;
    }
    for flag in [
        &["--store-password", PASSWORD][..],
        &["--store-password=hunter2"],
    ] {
        let args = [&store(redis)[..], flag].concat();
        refused_by_both(&args, &[], into_secrets).await;
    }

    let path = server.data_dir().with_file_name("password");
    let file = ["--store-password-file", path.to_str().unwrap()];
    let args = [store(redis), file].concat();
    refused_by_both(&args, &[], &[&file[..], &["not there"]].concat()).await;
    for (text, part) in [
        ("", "empty"),
        ("\n", "empty"),
        ("hunter2\nhunter2\n", "lines"),
    ] {
        fs::write(&path, text).unwrap();
        refused_by_both(&args, &[], &[&file[..], &[part]].concat()).await;
    }
    fs::write(&path, PASSWORD).unwrap();
    let twice = [("HOLDFAST_STORE_PASSWORD", PASSWORD)];
    let parts = ["HOLDFAST_STORE_PASSWORD", file[0], "leave one"];
    refused_by_both(&args, &twice, &parts).await;
    // Whoever runs this may read any file, but no directory.
    let args = [store(redis), ["--store-password-file", "/"]].concat();
    refused_by_both(&args, &[], &["--store-password-file", "directory"]).await;
    let args = [store(redis), ["--store-username", "ada"]].concat();
    refused_by_both(&args, &[], &["--store-username", "password"]).await;

    let of_others: [(&[&str], &[&str]); 6] = [
        (&["--durability", "local"], &["--durability", "--store"]),
        (
            &["--store-username", "ada"],
            &["--store-username", "--store"],
        ),
        (
            &["--store", redis, "--data-dir", "x"],
            &["--data-dir", redis],
        ),
        (
            &["--store", redis, "--store-ca", "/x"],
            &["--store-ca", "rediss"],
        ),
        (
            &["--store", "rediss://h", "--store-client-cert", "/dev/null"],
            &["--store-client-cert", "store-client-key"],
        ),
        (
            &["--store", redis, "--durability", "fsync"],
            &["--durability", "replicated-strict"],
        ),
    ];
    for (args, parts) in of_others {
        refused_by_both(args, &[], parts).await;
    }
}

async fn no_store(_: World) {
    let port = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (one, other) = (port(), port());
    let refuses = async |address: String| {
        let free = "127.0.0.1:0";
        let ports = ["--listen", free, "--http-listen", free];
        let args = [&["serve", "--store", &address][..], &ports].concat();
        let mut command = holdfast!().command(&args);
        command.env("HOLDFAST_STORE_PASSWORD", PASSWORD);
        let ended = run(command).await;
        refused(&ended, 3, &["--store", &address]);
        assert!(!ended.stderr.contains(PASSWORD), "{}", ended.stderr);
    };
    // Each waits a while, in case somebody comes: all of them at once.
    tokio::join!(
        refuses(format!("redis://127.0.0.1:{one}")),
        refuses(format!("redis-cluster://127.0.0.1:{one},127.0.0.1:{other}")),
        refuses("redis://no-such-host.invalid:6379".to_owned()),
    );
}
