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
    /// Whether its value is kept out of everything that is printed.
    pub(crate) secret: bool,
    /// What it does, in a sentence without a full stop.
    pub(crate) help: &'static str,
}

/// What a setting is where nobody sets it.
#[derive(Debug)]
pub(crate) enum Default {
    /// This.
    Is(&'static str),
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
            Self::Made { says, .. } => says,
        }
    }

    /// The value itself.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Is(text) => (*text).to_owned(),
            Self::Made { make, .. } => make(),
        }
    }
}

/// Names the file with the other settings; not to be set in one.
pub(crate) const CONFIG: &str = "config";

pub(crate) const LISTEN: Setting = Setting {
    name: "listen",
    form: "IP:PORT",
    default: Default::Is("127.0.0.1:50051"),
    secret: false,
    help: "The IP address and port on which gRPC is served; port 0 takes any that is free",
};

pub(crate) const HTTP_LISTEN: Setting = Setting {
    name: "http-listen",
    form: "IP:PORT",
    default: Default::Is("127.0.0.1:9464"),
    secret: false,
    help: "The IP address and port on which metrics and probes are served over plain HTTP, or \
           `off`",
};

pub(crate) const DATA_DIR: Setting = Setting {
    name: "data-dir",
    form: "DIR",
    default: Default::Is("./holdfast-data"),
    secret: false,
    help: "Where the store lives; made if it is not there. Relative to where the server is \
           started, also when a file says so",
};

pub(crate) const DISK_RESERVE: Setting = Setting {
    name: "disk-reserve",
    form: "SIZE",
    default: Default::Is("64MiB"),
    secret: false,
    help: "Free space of the store's disk below which nothing new is taken (STORE_FULL), so that \
           holds can still be confirmed, cancelled and let go",
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
    secret: false,
    help: "Threads that serve requests",
};

pub(crate) const DRAIN_GRACE: Setting = Setting {
    name: "drain-grace",
    form: "DURATION",
    default: Default::Is("5s"),
    secret: false,
    help: "After SIGTERM: how long to go on serving, so that load balancers notice",
};

pub(crate) const DRAIN_DEADLINE: Setting = Setting {
    name: "drain-deadline",
    form: "DURATION",
    default: Default::Is("25s"),
    secret: false,
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
    secret: false,
    help: "The name of this server in its answers",
};

pub(crate) const LOG: Setting = Setting {
    name: "log",
    form: "FILTER",
    default: Default::Is("info"),
    secret: false,
    help: "What to log on stderr: error, warn, info, debug, trace, or a filter for each part, \
           such as `info,server=debug`",
};

pub(crate) const LOG_FORMAT: Setting = Setting {
    name: "log-format",
    form: "FORMAT",
    default: Default::Is("text"),
    secret: false,
    help: "How the log looks: `text` for people, `json` for log collectors",
};

/// All settings, in the order in which the help tells them.
pub(crate) const ALL: &[&Setting] = &[
    &LISTEN,
    &HTTP_LISTEN,
    &DATA_DIR,
    &DISK_RESERVE,
    &WORKERS,
    &DRAIN_GRACE,
    &DRAIN_DEADLINE,
    &SERVER_ID,
    &LOG,
    &LOG_FORMAT,
];

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
