//! Stores over TLS: what is trusted, who is let in, and what is said of it where
//! either fails, in one sentence that names the setting.

use std::path::PathBuf;
use std::process::Command;

use shards::redis::{Acknowledge, Address, Options, Redis, TlsFiles};
use tempfile::TempDir;

use crate::sale::{Sale, Told};
use crate::server::eventually;
use crate::servers::{Node, Plan, Settings};

/// Authorities and what they signed, made by the `openssl` command.
struct Papers(TempDir);

impl Papers {
    fn new() -> Self {
        let papers = Self(TempDir::with_prefix("holdfast-tls-").unwrap());
        for authority in ["ca", "other-ca"] {
            let subject = format!("/CN=holdfast test {authority}");
            let (key, own) = (format!("{authority}.key"), format!("{authority}.pem"));
            let of = [
                "-x509", "-days", "2", "-subj", &subject, "-keyout", &key, "-out", &own,
            ];
            papers.openssl(&[NEW_KEY, &of].concat());
        }
        papers.sign("server", "ca", "IP:127.0.0.1", "2");
        papers.sign("client", "ca", "DNS:holdfast", "2");
        papers
    }

    /// A certificate for these names that is valid for so many days.
    fn sign(&self, name: &str, authority: &str, names: &str, days: &str) {
        let file = |ending: &str| format!("{name}.{ending}");
        let (key, request, extensions) = (file("key"), file("csr"), file("ext"));
        let subject = format!("/CN={name}");
        let of = ["-subj", &subject, "-keyout", &key, "-out", &request];
        self.openssl(&[NEW_KEY, &of].concat());
        let text = format!("basicConstraints=CA:FALSE\nsubjectAltName={names}\n");
        std::fs::write(self.path(&extensions), text).unwrap();
        let (ca, ca_key) = (format!("{authority}.pem"), format!("{authority}.key"));
        self.openssl(
            &[
                &[
                    "x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key,
                ][..],
                &["-CAcreateserial", "-days", days, "-extfile", &extensions],
                &["-out", &file("pem")],
            ]
            .concat(),
        );
    }

    fn openssl(&self, words: &[&str]) {
        let mut command = Command::new("openssl");
        let done = command.args(words).current_dir(self.0.path()).output();
        let done = done.expect("openssl is missing: run apt-get install openssl");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "openssl {}: {said}", words.join(" "));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A server with this certificate, which wants one of its clients.
    fn settings(&self, settings: Settings, server: &str) -> Settings {
        let path = |file: String| self.path(&file).display().to_string();
        settings
            .tls()
            .set("tls-cert-file", &path(format!("{server}.pem")))
            .set("tls-key-file", &path(format!("{server}.key")))
            .set("tls-ca-cert-file", &path("ca.pem".to_owned()))
            .set("tls-auth-clients", "yes")
    }

    fn start(&self, server: &str) -> Node {
        self.settings(Settings::default(), server).start()
    }

    fn files(&self, ca: &str, client: Option<&str>) -> TlsFiles {
        let pair = |name: &str| {
            let certificate = self.path(&format!("{name}.pem"));
            (certificate, self.path(&format!("{name}.key")))
        };
        TlsFiles {
            ca: Some(self.path(ca)),
            client: client.map(pair),
        }
    }

    /// What a client that has all that it needs has.
    fn good(&self) -> TlsFiles {
        self.files("ca.pem", Some("client"))
    }
}

const NEW_KEY: &[&str] = &[
    "req",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];

fn options(address: &str, tls: TlsFiles) -> Options {
    Options {
        acknowledge: Some(Acknowledge::Local),
        init: true,
        tls,
        ..Options::new(Address::parse(address).unwrap())
    }
}

fn at(node: &Node) -> String {
    format!("rediss://{}", node.address())
}

#[track_caller]
fn is_refused(options: Options, words: &[&str]) {
    let Err(error) = Redis::open(options) else {
        panic!("it was opened, and should have said {words:?}");
    };
    let error = error.to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

#[tokio::test]
async fn a_server_alone_serves_over_tls() {
    let papers = Papers::new();
    let node = papers.start("server");
    let sale = Sale::start(options(&at(&node), papers.good())).await;
    assert_eq!(sale.ask().await, Told::Granted);
    sale.settle().await;
}

#[tokio::test]
async fn a_cluster_serves_over_tls_also_after_a_failover() {
    let papers = Papers::new();
    let cluster = Plan::new(3, 1)
        .settings(|settings| papers.settings(settings, "server"))
        .start();
    let address = format!("rediss-cluster://{}", cluster.addresses()[0]);
    let sale = Sale::start(options(&address, papers.good())).await;
    let slot = u16::from(sale.stripe().await.0) * 256 + 128;
    let master = cluster.master_of_slot(slot);
    sale.during(async {
        sale.granted_more(50).await;
        cluster.failover(3 + master);
        sale.granted_more(50).await;
    })
    .await;
    sale.settle().await;
}

#[tokio::test]
async fn what_does_not_prove_who_it_is_is_refused() {
    let papers = Papers::new();
    let node = papers.start("server");
    let at = at(&node);
    let mut mixed = papers.good();
    mixed.client = Some((papers.path("client.pem"), papers.path("server.key")));
    papers.sign("stranger", "other-ca", "DNS:holdfast", "2");
    let table = [
        (papers.files("other-ca.pem", Some("client")), "--store-ca"),
        (papers.files("ca.pem", None), "--store-client-cert"),
        (
            papers.files("ca.pem", Some("stranger")),
            "--store-client-cert",
        ),
        // Files that are none.
        (papers.files("none.pem", Some("client")), "--store-ca"),
        (papers.files("ca.key", Some("client")), "--store-ca"),
        (papers.files("ca.pem", Some("none")), "--store-client-cert"),
        (mixed, "--store-client-key"),
    ];
    for (files, flag) in table {
        is_refused(options(&at, files), &[flag]);
    }
}

#[tokio::test]
async fn a_certificate_for_other_names_is_refused() {
    let papers = Papers::new();
    papers.sign("elsewhere", "ca", "DNS:elsewhere.example", "2");
    let node = papers.start("elsewhere");
    let words = ["for other names", "elsewhere.example", "--store"];
    is_refused(options(&at(&node), papers.good()), &words);
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let papers = Papers::new();
    // Until the end of this second.
    papers.sign("old", "ca", "IP:127.0.0.1", "0");
    let node = papers.start("old");
    eventually("its end", async || {
        match Redis::open(options(&at(&node), papers.good())) {
            Err(error) if error.to_string().contains("not valid at this time") => Ok(()),
            other => Err(other.map(drop).map_err(|error| error.to_string())),
        }
    })
    .await;
}

/// Each end may be the one without TLS; neither knows, so it is a hint.
#[tokio::test]
async fn tls_on_one_side_only_is_told() {
    let papers = Papers::new();
    let (with, without) = (papers.start("server"), Node::start());
    let plain = options(&format!("redis://{}", with.address()), TlsFiles::default());
    let tls = options(&at(&without), papers.good());
    // Both wait for a node that may come, so at once.
    let plain = std::thread::spawn(move || is_refused(plain, &["--store", "rediss"]));
    is_refused(tls, &["does not answer over TLS", "--store"]);
    plain.join().unwrap();
}
