//! What a store's own settings must be like, so that it keeps what it
//! acknowledges. Pure: told what nodes say, tells what is unsafe in sentences
//! that name the setting.

use super::fault::Fault;
use super::options::Acknowledge;
use super::survey::{Endpoint, Info};

/// The settings that are asked for; the answers are judged by [`unsafe_settings`].
pub(super) const SETTINGS: &[&str] = &[
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "cluster-replica-validity-factor",
    "cluster-require-full-coverage",
];

/// The oldest server that knows what the script needs (its flags).
const VERSION_MIN: (u32, u32) = (7, 0);

/// Whether it knows no flags of scripts.
pub(super) fn is_too_old(info: &Info) -> bool {
    info.redis_version < VERSION_MIN
}

/// What one master says.
pub(super) struct Checked<'a> {
    pub endpoint: &'a Endpoint,
    pub info: &'a Info,
    /// `None` = it does not tell.
    pub settings: Option<Vec<(String, String)>>,
    pub replicas: u32,
}

/// What a node refuses for good, until somebody changes it or a setting of ours.
pub(super) fn refused(endpoint: &Endpoint, fault: &Fault) -> Option<String> {
    let (Fault::NotDone(text) | Fault::Unknown(text) | Fault::Midway(text)) = fault else {
        return None;
    };
    let says = |word: &&str| text.contains(*word);
    let (_, what) = REFUSALS.iter().find(|(words, _)| words.iter().any(says))?;
    Some(format!("{endpoint}: {what} (it says: {text})"))
}

/// What nodes say, and what to do about it.
const REFUSALS: &[(&[&str], &str)] = &[
    (
        &["WRONGPASS", "NOAUTH", "AUTH <password> called without"],
        "it wants another user or password: set HOLDFAST_STORE_USERNAME, and HOLDFAST_STORE_PASSWORD or --store-password-file",
    ),
    (
        &["NOPERM", "ACL failure", "user executing the script"],
        "the user may not do what is needed: give it the rights of deploy/redis/users.acl, or set HOLDFAST_STORE_USERNAME",
    ),
    (&["cluster support disabled"], NO_CLUSTER),
    (
        &["holdfast: this store has the format"],
        "another version of Holdfast has written it: use one that knows this format",
    ),
    (
        &["InvalidCertificate(UnknownIssuer"],
        "no authority that is trusted has signed its certificate: name its authority with --store-ca",
    ),
    (
        &[
            "InvalidCertificate(Expired",
            "InvalidCertificate(NotValidYet",
        ],
        "its certificate is not valid at this time: give the node another one, or set the clock",
    ),
    (
        &["InvalidCertificate(NotValidForName"],
        "its certificate is for other names: say one of them in --store, or give the node one for this name",
    ),
    (
        &["InvalidCertificate"],
        "its certificate cannot be accepted: give the node another one",
    ),
    (
        &["AlertReceived"],
        "it does not accept this server's certificate: set --store-client-cert and --store-client-key",
    ),
];

const NO_CLUSTER: &str =
    "it is not part of a cluster: say --store redis://HOST:PORT, or set cluster-enabled yes";

/// What makes a start impossible, whatever anybody says.
pub(super) fn impossible(endpoint: &Endpoint, info: &Info, cluster: bool) -> Option<String> {
    let what = if is_too_old(info) {
        format!("{} is too old: 7.0 or later is needed", info.version)
    } else if cluster && !info.in_cluster {
        NO_CLUSTER.to_owned()
    } else if !cluster && info.in_cluster {
        "it is part of a cluster: say --store redis-cluster://HOST:PORT".to_owned()
    } else {
        return None;
    };
    Some(format!("{endpoint}: {what}"))
}

/// What loses acknowledged work; and what is worth a warning.
pub(super) fn unsafe_settings(
    checked: &Checked<'_>,
    acknowledge: Acknowledge,
) -> (Vec<String>, Vec<String>) {
    let Checked {
        endpoint,
        info,
        settings,
        replicas,
    } = checked;
    let mut unsafe_ones = Vec::new();
    let mut warnings = Vec::new();
    let get = |name: &str| {
        let found = settings.as_ref()?.iter().find(|(known, _)| known == name)?;
        Some(found.1.as_str())
    };
    let policy = get("maxmemory-policy").unwrap_or(&info.policy);
    if policy != "noeviction" && !policy.is_empty() {
        unsafe_ones.push(format!(
            "{endpoint} evicts keys when its memory is full: set maxmemory-policy noeviction (it is {policy})"
        ));
    }
    if get("appendonly").map_or(!info.aof, |aof| aof != "yes") {
        unsafe_ones.push(format!(
            "{endpoint} keeps no append-only file, so a restart loses everything: set appendonly yes"
        ));
    }
    if acknowledge != Acknowledge::Local && *replicas == 0 {
        unsafe_ones.push(format!(
            "{endpoint} has no replica that could acknowledge: add one, or say --durability local"
        ));
    }
    if get("cluster-replica-validity-factor") == Some("0") && info.in_cluster {
        unsafe_ones.push(format!(
            "{endpoint} may be followed by a replica with no data at all: set cluster-replica-validity-factor to 1 or more (it is 0)"
        ));
    }
    if get("cluster-require-full-coverage") == Some("yes") && info.in_cluster {
        warnings.push(format!(
            "{endpoint} stops serving when any other master is lost: set cluster-require-full-coverage no"
        ));
    }
    if info.max_bytes == 0 {
        warnings.push(format!(
            "{endpoint} has no bound on its memory: set maxmemory, so that Holdfast sees it coming"
        ));
    }
    if acknowledge != Acknowledge::Local && *replicas == 1 {
        warnings.push(format!(
            "{endpoint} has one replica: after a failover its stripes cannot acknowledge until it has another; give it two"
        ));
    }
    if settings.is_none() {
        warnings.push(format!(
            "{endpoint} does not allow CONFIG GET: its settings were checked as far as INFO tells"
        ));
    }
    (unsafe_ones, warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn endpoint() -> Endpoint {
        Endpoint {
            host: "h".to_owned(),
            port: 1,
        }
    }

    fn info(more: &str) -> Info {
        let text = format!(
            "redis_version:7.0.15\r\nrun_id:{ID}\r\nmaster_replid:{ID}\r\nrole:master\r\n\
             aof_enabled:1\r\nmaxmemory_policy:noeviction\r\nmaxmemory:100\r\n{more}"
        );
        // The first of two lines is read.
        let lines: Vec<&str> = more.lines().chain(text.lines()).collect();
        Info::parse(&lines.join("\r\n")).unwrap()
    }

    /// What is unsafe, and what is warned of.
    fn judged(info: &Info, settings: Option<&[(&str, &str)]>) -> (Vec<String>, Vec<String>) {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let checked = Checked {
            endpoint: &endpoint(),
            info,
            settings: settings.map(|pairs| pairs.iter().map(pair).collect()),
            replicas: 2,
        };
        unsafe_settings(&checked, Acknowledge::Replicated)
    }

    #[test]
    fn what_is_too_old_or_of_the_other_kind_is_impossible() {
        let old = [
            "redis_version:6.2.14",
            "redis_version:2.8.0",
            "redis_version:x",
        ];
        for version in old {
            let said = impossible(&endpoint(), &info(version), false).unwrap();
            assert!(said.contains("7.0 or later"), "{said}");
            let words = version.replace("redis_version:", "redis ");
            assert!(said.starts_with("h:1: ") && said.contains(&words), "{said}");
        }
        for version in ["redis_version:7.0.0", "redis_version:10.2.1"] {
            assert_eq!(impossible(&endpoint(), &info(version), false), None);
        }
        // Valkey says which Redis it is like.
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2";
        assert_eq!(impossible(&endpoint(), &info(valkey), false), None);
        let said = impossible(&endpoint(), &info(""), true).unwrap();
        assert!(said.contains("--store redis://"), "{said}");
        let said = impossible(&endpoint(), &info("cluster_enabled:1"), false);
        assert!(said.unwrap().contains("--store redis-cluster://"));
    }

    #[test]
    fn settings_are_judged_by_what_is_in_force() {
        let good = info("cluster_enabled:1");
        let settings = [
            ("maxmemory-policy", "noeviction"),
            ("appendonly", "yes"),
            ("cluster-replica-validity-factor", "10"),
            ("cluster-require-full-coverage", "no"),
        ];
        assert_eq!(judged(&good, Some(&settings)), (Vec::new(), Vec::new()));
        for (at, (value, words)) in [
            ("volatile-ttl", "set maxmemory-policy noeviction"),
            ("no", "set appendonly yes"),
            ("0", "set cluster-replica-validity-factor to 1"),
        ]
        .iter()
        .enumerate()
        {
            let mut settings = settings;
            settings[at].1 = value;
            let (not_safe, _) = judged(&good, Some(&settings));
            assert_eq!(not_safe.len(), 1, "{not_safe:?}");
            assert!(not_safe[0].contains(words), "{not_safe:?}");
        }
        let mut whole = settings;
        whole[3].1 = "yes";
        let (_, warnings) = judged(&good, Some(&whole));
        assert!(warnings[0].contains("cluster-require-full-coverage no"));
    }

    #[test]
    fn where_settings_are_not_told_info_is_judged() {
        let (not_safe, warnings) = judged(&info(""), None);
        assert_eq!(not_safe, [""; 0]);
        assert!(warnings[0].contains("CONFIG GET"), "{warnings:?}");
        let bad = info("maxmemory_policy:allkeys-lru\r\naof_enabled:0");
        let (not_safe, _) = judged(&bad, None);
        assert_eq!(not_safe.len(), 2, "{not_safe:?}");
    }

    #[test]
    fn what_waiting_does_not_mend_is_told_with_its_setting() {
        for (text, words) in [
            ("WRONGPASS invalid", "--store-password-file"),
            ("NOAUTH Authentication required.", "HOLDFAST_STORE_PASSWORD"),
            ("NOPERM this user has no", "users.acl"),
            (
                "ERR This instance has cluster support disabled",
                "redis://HOST:PORT",
            ),
            ("InvalidCertificate(UnknownIssuer)", "--store-ca"),
            ("InvalidCertificate(ExpiredContext { .. })", "not valid"),
            ("InvalidCertificate(NotValidForNameContext", "other names"),
            ("InvalidCertificate(Revoked)", "another one"),
            (
                "AlertReceived(CertificateRequired)",
                "--store-client-cert and",
            ),
            ("ERR holdfast: this store has the format 2", "this format"),
        ] {
            let said = refused(&endpoint(), &Fault::NotDone(text.to_owned())).unwrap();
            assert!(said.contains(words) && said.contains(text), "{said}");
            assert_eq!(said.lines().count(), 1);
        }
        for text in ["LOADING", "it does not answer", "CLUSTERDOWN"] {
            assert_eq!(refused(&endpoint(), &Fault::Unknown(text.to_owned())), None);
        }
    }
}
