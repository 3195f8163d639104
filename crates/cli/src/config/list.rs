//! The settings of a server, each with its one name. Flags, environment names,
//! keys of the file, the help and `docs/SETTINGS.md` are all made from this
//! list; how values are read is in [`super::Settings`].

use std::num::NonZeroUsize;
use std::thread;

/// What all our environment names begin with.
pub(crate) const PREFIX: &str = "HOLDFAST_";

/// A setting. As a flag it is `--name`, in the file `name`, and in the
/// environment `HOLDFAST_NAME`.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Words in lower case with `-` between them.
    pub(crate) name: &'static str,
    /// What a value looks like, such as `DURATION`.
    pub(crate) form: &'static str,
    /// What holds where nobody says anything.
    pub(crate) default: Default,
    /// How it is given, and what of it may be seen.
    pub(crate) kind: Kind,
    /// What it does, in a sentence without a full stop.
    pub(crate) help: &'static str,
}

/// How a setting is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With a value that anybody may see.
    Plain,
    /// As a flag alone: that is `true`. Elsewhere as `true` or `false`.
    Switch,
    /// With an address; what may be a password in it is kept out of what is
    /// printed.
    Address,
    /// Kept out of everything that is printed, and no flag: the arguments of a
    /// process are for all of its machine to see.
    Secret,
}

/// What a setting is where nobody sets it.
#[derive(Debug)]
pub(crate) enum Default {
    /// This.
    Is(&'static str),
    /// Nothing at all.
    Unset {
        /// How the help words it.
        says: &'static str,
        /// What one could write.
        example: &'static str,
    },
    /// What this machine makes of it.
    Made {
        /// How the help words it.
        says: &'static str,
        make: fn() -> String,
    },
}

impl Setting {
    /// Its name in the environment.
    pub(crate) fn environment_name(&self) -> String {
        environment_name(self.name)
    }
}

/// The name in the environment of what is called `name` elsewhere.
pub(crate) fn environment_name(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('-', "_").to_uppercase())
}

impl Default {
    /// How the help words it.
    pub(crate) fn says(&self) -> &'static str {
        match self {
            Self::Is(text) => text,
            Self::Unset { says, .. } | Self::Made { says, .. } => says,
        }
    }

    /// The value itself.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Is(text) => (*text).to_owned(),
            Self::Unset { .. } => String::new(),
            Self::Made { make, .. } => make(),
        }
    }

    /// What a value looks like.
    pub(crate) fn example(&self) -> String {
        match self {
            Self::Unset { example, .. } => (*example).to_owned(),
            Self::Is(_) | Self::Made { .. } => self.text(),
        }
    }
}

/// Names the file with the other settings; not to be set in one.
pub(crate) const CONFIG: &str = "config";

pub(crate) const LISTEN: Setting = Setting {
    name: "listen",
    form: "IP:PORT",
    default: Default::Is("127.0.0.1:50051"),
    kind: Kind::Plain,
    help: "The IP address and port on which gRPC is served; port 0 takes any that is free",
};

pub(crate) const HTTP_LISTEN: Setting = Setting {
    name: "http-listen",
    form: "IP:PORT",
    default: Default::Is("127.0.0.1:9464"),
    kind: Kind::Plain,
    help: "The IP address and port on which metrics and probes are served over plain HTTP, or \
           `off`",
};

pub(crate) const STORE: Setting = Setting {
    name: "store",
    form: "URL",
    default: Default::Is("embedded"),
    kind: Kind::Address,
    help: "Where the items are: `embedded`, in `data-dir`; or in Redis or Valkey from 7.0 on: \
           `redis-cluster://HOST:PORT,HOST:PORT`, or `redis://HOST:PORT` for one server alone; \
           over TLS `rediss` in place of `redis`",
};

pub(crate) const DATA_DIR: Setting = Setting {
    name: "data-dir",
    form: "DIR",
    default: Default::Is("./holdfast-data"),
    kind: Kind::Plain,
    help: "Where the embedded store lies; made if it is not there. Relative to where the server \
           is started, also when a file says so",
};

pub(crate) const DISK_RESERVE: Setting = Setting {
    name: "disk-reserve",
    form: "SIZE",
    default: Default::Is("64MiB"),
    kind: Kind::Plain,
    help: "Free space of the embedded store's disk below which nothing new is taken (STORE_FULL), so that \
           holds can still be confirmed, cancelled and let go",
};

pub(crate) const INIT_STORE: Setting = Setting {
    name: "init-store",
    form: "BOOL",
    default: Default::Is("false"),
    kind: Kind::Switch,
    help: "Make a store in a Redis that has none. To be said once: a server that is always told \
           so takes a store that was lost for a new one",
};

pub(crate) const DURABILITY: Setting = Setting {
    name: "durability",
    form: "MODE",
    default: Default::Unset {
        says: "`replicated` where every master has replicas, else `local`",
        example: "replicated",
    },
    kind: Kind::Plain,
    help: "Who must have a change in Redis before it is acknowledged: `replicated`, every replica \
           that is up, at least one; `replicated-strict`, every replica that the cluster lists; \
           `local`, the master alone",
};

pub(crate) const ACCEPT_UNSAFE_STORE: Setting = Setting {
    name: "accept-unsafe-store",
    form: "BOOL",
    default: Default::Is("false"),
    kind: Kind::Switch,
    help: "Serve although settings of Redis, such as eviction, may lose what was acknowledged; \
           `holdfast status` says which",
};

pub(crate) const STORE_USERNAME: Setting = Setting {
    name: "store-username",
    form: "NAME",
    default: Default::Unset {
        says: "none",
        example: "holdfast",
    },
    kind: Kind::Plain,
    help: "The user of Redis that this server is; needs a password",
};

pub(crate) const STORE_PASSWORD: Setting = Setting {
    name: "store-password",
    form: "TEXT",
    default: Default::Unset {
        says: "none",
        example: "...",
    },
    kind: Kind::Secret,
    help: "The password for Redis; never a flag, since others can see those",
};

pub(crate) const STORE_PASSWORD_FILE: Setting = Setting {
    name: "store-password-file",
    form: "FILE",
    default: Default::Unset {
        says: "none",
        example: "/run/secrets/redis",
    },
    kind: Kind::Plain,
    help: "A file whose only line is the password for Redis; or set HOLDFAST_STORE_PASSWORD",
};

pub(crate) const STORE_CA: Setting = Setting {
    name: "store-ca",
    form: "FILE",
    default: Default::Unset {
        says: "the machine's",
        example: "/etc/holdfast/ca.pem",
    },
    kind: Kind::Plain,
    help: "The authorities to trust for Redis over TLS, in PEM",
};

pub(crate) const STORE_CLIENT_CERT: Setting = Setting {
    name: "store-client-cert",
    form: "FILE",
    default: Default::Unset {
        says: "none",
        example: "/etc/holdfast/client.pem",
    },
    kind: Kind::Plain,
    help: "This server's certificate for Redis over TLS, in PEM; needs its key",
};

pub(crate) const STORE_CLIENT_KEY: Setting = Setting {
    name: "store-client-key",
    form: "FILE",
    default: Default::Unset {
        says: "none",
        example: "/etc/holdfast/client.key",
    },
    kind: Kind::Plain,
    help: "The key of that certificate, in PEM",
};

pub(crate) const WORKERS: Setting = Setting {
    name: "workers",
    form: "NUMBER",
    default: Default::Made {
        says: "one for each core",
        make: || {
            let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            cores.to_string()
        },
    },
    kind: Kind::Plain,
    help: "Threads that serve requests",
};

pub(crate) const MARK_DEADLINE: Setting = Setting {
    name: "mark-deadline",
    form: "DURATION",
    default: Default::Is("1s"),
    kind: Kind::Plain,
    help: "How long what was found sold out may refuse first attempts without asking the store, \
           2s at most; news from the store end it sooner. 0s asks the store each time",
};

pub(crate) const IGNORE_FIRST_ATTEMPT: Setting = Setting {
    name: "ignore-first-attempt",
    form: "BOOL",
    default: Default::Is("false"),
    kind: Kind::Switch,
    help: "Take no caller's word that it never sent a request before: behind proxies that send \
           again without counting",
};

pub(crate) const DRAIN_GRACE: Setting = Setting {
    name: "drain-grace",
    form: "DURATION",
    default: Default::Is("5s"),
    kind: Kind::Plain,
    help: "After SIGTERM: how long to go on serving, so that load balancers notice",
};

pub(crate) const DRAIN_DEADLINE: Setting = Setting {
    name: "drain-deadline",
    form: "DURATION",
    default: Default::Is("25s"),
    kind: Kind::Plain,
    help: "After that, or at once after SIGINT: how long calls under way may take to end before \
           they are cut off",
};

pub(crate) const SERVER_ID: Setting = Setting {
    name: "server-id",
    form: "NAME",
    default: Default::Made {
        says: "the host's name",
        make: || {
            let name = rustix::system::uname();
            name.nodename().to_string_lossy().into_owned()
        },
    },
    kind: Kind::Plain,
    help: "The name of this server in its answers",
};

pub(crate) const LOG: Setting = Setting {
    name: "log",
    form: "FILTER",
    default: Default::Is("info"),
    kind: Kind::Plain,
    help: "What to log on stderr: error, warn, info, debug, trace, or a filter for each part, \
           such as `info,server=debug`",
};

pub(crate) const LOG_FORMAT: Setting = Setting {
    name: "log-format",
    form: "FORMAT",
    default: Default::Is("text"),
    kind: Kind::Plain,
    help: "How the log looks: `text` for people, `json` for log collectors",
};

/// All settings, in the order in which the help tells them.
pub(crate) const ALL: &[&Setting] = &[
    &LISTEN,
    &HTTP_LISTEN,
    &STORE,
    &DATA_DIR,
    &DISK_RESERVE,
    &INIT_STORE,
    &DURABILITY,
    &ACCEPT_UNSAFE_STORE,
    &STORE_USERNAME,
    &STORE_PASSWORD,
    &STORE_PASSWORD_FILE,
    &STORE_CA,
    &STORE_CLIENT_CERT,
    &STORE_CLIENT_KEY,
    &WORKERS,
    &MARK_DEADLINE,
    &IGNORE_FIRST_ATTEMPT,
    &DRAIN_GRACE,
    &DRAIN_DEADLINE,
    &SERVER_ID,
    &LOG,
    &LOG_FORMAT,
];

/// What is only said of a store in Redis, but for switches: those are off.
pub(crate) const OF_REDIS: &[&Setting] = &[
    &DURABILITY,
    &STORE_USERNAME,
    &STORE_PASSWORD,
    &STORE_PASSWORD_FILE,
    &STORE_CA,
    &STORE_CLIENT_CERT,
    &STORE_CLIENT_KEY,
];

/// How to work with a store in Redis that exists.
pub(crate) const HOW_TO_REACH: &[&Setting] = &[
    &DURABILITY,
    &ACCEPT_UNSAFE_STORE,
    &STORE_USERNAME,
    &STORE_PASSWORD,
    &STORE_PASSWORD_FILE,
    &STORE_CA,
    &STORE_CLIENT_CERT,
    &STORE_CLIENT_KEY,
];

/// What is only said of a store that is reached over TLS.
pub(crate) const OF_TLS: &[&Setting] = &[&STORE_CA, &STORE_CLIENT_CERT, &STORE_CLIENT_KEY];

/// What is only said of the embedded store.
pub(crate) const OF_EMBEDDED: &[&Setting] = &[&DATA_DIR, &DISK_RESERVE];

/// Whether a flag of this name is one of a server's settings, or names their
/// file: those are read from [`super::Layers`] and not by the grammar.
pub(crate) fn is_ours(flag: &str) -> bool {
    flag == CONFIG || ALL.iter().any(|setting| setting.name == flag)
}

/// The environment names of all settings, and of their file's.
pub(crate) fn environment_names() -> impl Iterator<Item = String> {
    let names = ALL.iter().map(|setting| setting.name);
    names.chain([CONFIG]).map(environment_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_with_dashes_and_unique() {
        let mut names: Vec<_> = ALL.iter().map(|setting| setting.name).collect();
        for name in &names {
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(name.chars().all(plain), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert_eq!(DRAIN_GRACE.environment_name(), "HOLDFAST_DRAIN_GRACE");
    }
}
