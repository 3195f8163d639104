//! What a node tells of itself and of its cluster, as text; and how many replicas
//! an acknowledgement has to wait for. Pure.

use super::options::Acknowledge;
use super::script::Incarnation;
use crate::rules::{Rule, holds};

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What INFO says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Info {
    pub incarnation: Incarnation,
    /// As in "redis 7.0.15".
    pub version: String,
    /// Major and minor, of Redis or as Valkey says that it is compatible with.
    pub redis_version: (u32, u32),
    pub is_master: bool,
    pub in_cluster: bool,
    pub loading: bool,
    pub aof: bool,
    pub policy: String,
    pub used_bytes: u64,
    /// 0 = no bound.
    pub max_bytes: u64,
    pub attached: Vec<Attached>,
}

/// A replica that is connected to the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub endpoint: Endpoint,
    /// Past its first sync.
    pub online: bool,
}

/// Memory from which on nothing new is taken, in percent of what is allowed.
const FULL_PERCENT: u64 = 85;

impl Info {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let get = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        let need = |name: &str| get(name).ok_or_else(|| format!("INFO says nothing of {name}"));
        let number = |name: &str| get(name).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        let redis = need("redis_version")?;
        let mut parts = redis.split('.').map(|part| part.parse().unwrap_or(0));
        let redis_version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        let version = match (get("server_name"), get("valkey_version")) {
            (Some("valkey"), Some(version)) => format!("valkey {version}"),
            _ => format!("redis {redis}"),
        };
        let attached = (0..)
            .map_while(|n| get(&format!("slave{n}")))
            .filter_map(Attached::parse)
            .collect();
        Ok(Self {
            incarnation: incarnation(need("run_id")?, need("master_replid")?)?,
            version,
            redis_version,
            is_master: need("role")? == "master",
            in_cluster: get("cluster_enabled") == Some("1"),
            loading: get("loading") == Some("1"),
            aof: get("aof_enabled") == Some("1"),
            policy: get("maxmemory_policy").unwrap_or("").to_owned(),
            used_bytes: number("used_memory"),
            max_bytes: number("maxmemory"),
            attached,
        })
    }

    /// ⚔ Whether nothing new may be remembered any more.
    pub(super) fn is_full(&self) -> bool {
        let bound = u128::from(self.max_bytes) * u128::from(FULL_PERCENT) / 100;
        self.max_bytes > 0
            && u128::from(self.used_bytes) >= bound
            && holds(Rule::FullBeforeOutOfMemory)
    }
}

impl Attached {
    /// As in `ip=127.0.0.1,port=7001,state=online,offset=1,lag=0`.
    fn parse(line: &str) -> Option<Self> {
        let get = |name: &str| {
            line.split(',')
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self {
            endpoint: Endpoint {
                host: get("ip")?.to_owned(),
                port: get("port")?.parse().ok()?,
            },
            online: get("state") == Some("online"),
        })
    }
}

/// ⚔ Run id and replication id: a run id alone comes back when a stripe fails
/// over and back.
fn incarnation(run: &str, replication: &str) -> Result<Incarnation, String> {
    let mut bytes = [0; 40];
    let ids = if holds(Rule::IncarnationIsBothIds) {
        [run, replication]
    } else {
        [run, run]
    };
    for (half, id) in bytes.chunks_mut(20).zip(ids) {
        let decoded = data_encoding::HEXLOWER_PERMISSIVE
            .decode(id.as_bytes())
            .ok()
            .filter(|decoded| decoded.len() == half.len())
            .ok_or_else(|| format!("{id:?} is no run id or replication id"))?;
        half.copy_from_slice(&decoded);
    }
    Ok(Incarnation(bytes))
}

/// A line of CLUSTER NODES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub id: String,
    /// Where to connect to: by name, if it has one.
    pub endpoint: Endpoint,
    /// Its address, which is what INFO calls an attached replica by.
    pub address: Endpoint,
    pub is_myself: bool,
    pub is_master: bool,
    /// Its master's id, of a replica.
    pub follows: Option<String>,
    /// The majority calls it failed.
    pub failed: bool,
    /// It can be reached under an address at all.
    pub known: bool,
    /// The greater of two claims on a slot wins.
    pub epoch: u64,
    pub slots: Vec<(u16, u16)>,
}

/// What a node knows of its cluster. `asked` is where it was asked: a node
/// that nobody told its own address names none.
pub(super) fn parse_nodes(text: &str, asked: &Endpoint) -> Vec<Node> {
    text.lines()
        .filter_map(|line| Node::parse(line, asked))
        .collect()
}

impl Node {
    fn parse(line: &str, asked: &Endpoint) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let id = words.next()?.to_owned();
        let address = words.next()?;
        let flags: Vec<&str> = words.next()?.split(',').collect();
        let follows = words.next().filter(|id| *id != "-").map(str::to_owned);
        let epoch = words.nth(2)?.parse().ok()?;
        let _link = words.next()?;
        // Slots in brackets are on their way somewhere else, or from there.
        let slots = words
            .filter(|word| !word.starts_with('['))
            .filter_map(|word| {
                let (first, last) = word.split_once('-').unwrap_or((word, word));
                Some((first.parse().ok()?, last.parse().ok()?))
            })
            .collect();
        let has = |flag| flags.contains(&flag);
        let mut parts = address.split(',');
        let (host, port) = parts.next()?.split('@').next()?.rsplit_once(':')?;
        let name = parts.next().filter(|name| !name.is_empty() && *name != "?");
        let host = match host {
            "" if has("myself") => &asked.host,
            host => host,
        };
        let port = port.parse().ok()?;
        let at = |host: &str| Endpoint {
            host: host.to_owned(),
            port,
        };
        Some(Self {
            id,
            endpoint: at(name.unwrap_or(host)),
            address: at(host),
            is_myself: has("myself"),
            is_master: has("master"),
            follows,
            failed: has("fail"),
            known: !host.is_empty() && !has("noaddr") && !has("handshake"),
            epoch,
            slots,
        })
    }
}

/// What an acknowledgement waits for on one master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Required {
    /// Replicas that WAIT has to count.
    pub replicas: u32,
    /// As many of them as are connected and past their first sync.
    pub in_step: u32,
}

/// ⚔ WAIT counts heads, not names, and any listed replica can be elected: so
/// all of them have to have it, and as many more as are attached without being
/// listed, or those could be the ones that were counted.
pub(super) fn required(acknowledge: Acknowledge, info: &Info, nodes: &[Node]) -> Required {
    if acknowledge == Acknowledge::Local {
        return Required::default();
    }
    let failed_count =
        acknowledge == Acknowledge::ReplicatedStrict && holds(Rule::StrictCountsTheFailed);
    let me = nodes.iter().find(|node| node.is_myself);
    let listed: Vec<&Endpoint> = match me {
        Some(me) => nodes
            .iter()
            .filter(|node| node.follows.as_ref() == Some(&me.id))
            .filter(|node| !node.failed || failed_count)
            .map(|node| &node.address)
            .collect(),
        // Alone, it knows those that are attached.
        None => info
            .attached
            .iter()
            .map(|replica| &replica.endpoint)
            .collect(),
    };
    let unlisted = info
        .attached
        .iter()
        .filter(|replica| !listed.contains(&&replica.endpoint) && holds(Rule::UnlistedCount))
        .count();
    let listed = if holds(Rule::EveryListedReplica) {
        listed.len().max(1)
    } else {
        1
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let replicas = count(listed + unlisted);
    let online = info
        .attached
        .iter()
        .filter(|replica| replica.online)
        .count();
    Required {
        replicas,
        in_step: count(online).min(replicas),
    }
}

#[cfg(test)]
mod tests {
    use Acknowledge::{Local, Replicated, ReplicatedStrict};

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn info(attached: &[u16]) -> Info {
        let line = |(n, port): (u32, &u16)| {
            format!("slave{n}:ip=127.0.0.1,port={port},state=online,offset=1,lag=0\r\n")
        };
        let attached = (0..).zip(attached).map(line).collect::<Vec<_>>().concat();
        let text = format!(
            "# Server\r\nredis_version:7.0.15\r\nrun_id:{ID}\r\n# Replication\r\n\
             role:master\r\n{attached}master_replid:{ID}\r\nused_memory:86\r\nmaxmemory:100\r\n"
        );
        Info::parse(&text).unwrap()
    }

    fn nodes(replicas: &[(u16, &str)]) -> Vec<Node> {
        let line = |(port, flags): &(u16, &str)| {
            format!("r{port} 127.0.0.1:{port}@1{port} {flags} {ID} 0 0 3 connected\n")
        };
        let replicas = replicas.iter().map(line).collect::<Vec<_>>().concat();
        let text = format!(
            "{ID} 127.0.0.1:7000@17000 myself,master - 0 0 3 connected 0-5460 [5000->-x]\n\
             other 127.0.0.1:7009@17009,b.example master - 0 1 2 connected 5461-10922 10924\n\
             {replicas}"
        );
        let asked = Endpoint {
            host: "127.0.0.1".to_owned(),
            port: 7_000,
        };
        parse_nodes(&text, &asked)
    }

    #[test]
    fn info_is_read() {
        let info = info(&[7_001]);
        assert_eq!(info.version, "redis 7.0.15");
        assert_eq!(info.redis_version, (7, 0));
        assert!(info.is_master && info.is_full() && !info.aof);
        assert_eq!(info.attached[0].endpoint.to_string(), "127.0.0.1:7001");
        assert!(
            Info::parse("role:master")
                .unwrap_err()
                .contains("redis_version")
        );
    }

    #[test]
    fn nodes_are_read() {
        let nodes = nodes(&[
            (7_001, "slave"),
            (7_002, "slave,fail?"),
            (7_003, "slave,fail"),
        ]);
        assert_eq!(nodes[0].slots, [(0, 5_460)]);
        assert_eq!(nodes[1].slots, [(5_461, 10_922), (10_924, 10_924)]);
        assert_eq!(nodes[1].endpoint.host, "b.example");
        assert_eq!(nodes[1].epoch, 2);
        assert_eq!(nodes[2].follows.as_deref(), Some(ID));
        let failed: Vec<_> = nodes.iter().map(|node| node.failed).collect();
        assert_eq!(failed, [false, false, false, false, true]);
    }

    #[test]
    fn every_replica_that_may_be_elected_has_to_have_it() {
        let (alive, failed) = ((7_001, "slave"), (7_002, "slave,fail"));
        let of = |acknowledge, attached: &[u16], listed: &[(u16, &str)]| {
            let required = required(acknowledge, &info(attached), &nodes(listed));
            (required.replicas, required.in_step)
        };
        assert_eq!(of(Local, &[7_001], &[alive]), (0, 0));
        assert_eq!(of(Replicated, &[7_001], &[alive]), (1, 1));
        assert_eq!(of(Replicated, &[7_001], &[alive, failed]), (1, 1));
        assert_eq!(of(ReplicatedStrict, &[7_001], &[alive, failed]), (2, 1));
        // One that is suspected by some is not failed yet.
        assert_eq!(
            of(Replicated, &[7_001], &[alive, (7_002, "slave,fail?")]),
            (2, 1)
        );
        // Heads that are counted without being listed, or being listed as failed.
        assert_eq!(of(Replicated, &[7_001, 7_005], &[alive]), (2, 2));
        assert_eq!(of(Replicated, &[7_001, 7_002], &[alive, failed]), (2, 2));
        // None is listed: one is needed all the same, beside the unlisted one.
        assert_eq!(of(Replicated, &[7_005], &[]), (2, 1));
        assert_eq!(of(Replicated, &[], &[]), (1, 0));
    }

    #[test]
    fn a_run_id_that_comes_back_is_another_incarnation() {
        let other = ID.replace('0', "f");
        assert_ne!(incarnation(ID, ID), incarnation(ID, &other));
        assert!(incarnation("xyz", ID).is_err());
    }
}
