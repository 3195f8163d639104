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
    let (_, what) = REFUSALS
        .iter()
        .find(|(words, _)| words.iter().any(|word| says(word)))?;
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
