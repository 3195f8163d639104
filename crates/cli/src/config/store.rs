//! The settings of the store, which only mean something together.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use server::StoreConfig;
use server::redis::{Acknowledge, Address, Credentials, InvalidAddress, Options, TlsFiles};

use super::file::File;
use super::flags::StoreFlags;
use super::layers::{Layers, Origin, Value};
use super::list::{self, Setting};
use super::parse_switch;
use super::secret::{parse_file, read_secret, readable};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::size::parse_size;

/// What `store` is where there is no Redis.
const EMBEDDED: &str = "embedded";

/// Where the items are, as `store` says it.
enum Place {
    Embedded,
    Redis(Address),
}

/// The store that these layers come to.
pub(super) fn read(layers: &Layers<'_>) -> Result<StoreConfig, Failure> {
    let place = layers.read(&list::STORE, parse_place)?;
    // What is not valid is told also where it would not be in force.
    let embedded = StoreConfig::Embedded {
        dir: layers.read(&list::DATA_DIR, parse_dir)?,
        disk_reserve: layers.read(&list::DISK_RESERVE, parse_size)?,
    };
    let said = Said::read(layers)?;
    match place {
        Place::Embedded => match in_force(layers, list::OF_REDIS)? {
            Some(value) => Err(value.wrong(
                "it is for a store in Redis, and the store is the embedded one: name one \
                     with --store, or leave this away",
            )),
            None => Ok(embedded),
        },
        Place::Redis(address) => {
            check_no_directory(layers)?;
            said.options(layers, address).map(StoreConfig::Redis)
        }
    }
}

/// A store in Redis for servers that a command starts.
pub(crate) struct NamedStore {
    /// What `store` is to be.
    pub(crate) address: Address,
    /// The other settings, for the environment: a password may be among them.
    pub(crate) variables: Vec<(String, String)>,
}

/// The store that these flags name, valid like a server's own; `None`, the
/// servers' own. How to reach it is taken from the environment, too.
pub(crate) fn named(
    StoreFlags(flags): &StoreFlags,
    environment: &Environment,
) -> Result<Option<NamedStore>, Failure> {
    let nothing = Environment::default();
    let environment = match flags.get(&list::STORE) {
        Some(_) => environment,
        None => &nothing,
    };
    let layers = Layers::with_file(flags, environment, File::default());
    let StoreConfig::Redis(Options { address, .. }) = read(&layers)? else {
        return Ok(None);
    };
    let mut variables = Vec::new();
    for setting in list::HOW_TO_REACH {
        let value = layers.value(setting)?;
        if value.origin != Origin::Default {
            variables.push((setting.environment_name(), value.text));
        }
    }
    Ok(Some(NamedStore { address, variables }))
}

/// Two stores on one command line are a mistake. Elsewhere a directory is what
/// an image or a file brings along for those who name no store.
fn check_no_directory(layers: &Layers<'_>) -> Result<(), Failure> {
    for setting in list::OF_EMBEDDED {
        let value = layers.value(setting)?;
        if value.origin == Origin::Flag {
            return Err(value.wrong(format!(
                "it is for the embedded store, and {} names another: leave one of them away",
                layers.value(&list::STORE)?.place()
            )));
        }
    }
    Ok(())
}

/// The first of `settings` that somebody believes to be in force: set where
/// `store` is, or in a stronger place.
fn in_force(layers: &Layers<'_>, settings: &[&'static Setting]) -> Result<Option<Value>, Failure> {
    let store = layers.value(&list::STORE)?;
    for setting in settings {
        let value = layers.value(setting)?;
        if value.origin != Origin::Default && value.origin.is_as_strong_as(&store.origin) {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// What is said about a store in Redis, each by itself valid.
struct Said {
    init: bool,
    accept_unsafe: bool,
    acknowledge: Option<Acknowledge>,
    username: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

impl Said {
    fn read(layers: &Layers<'_>) -> Result<Self, Failure> {
        for setting in list::OF_TLS {
            layers.read_set(setting, parse_file)?;
        }
        Ok(Self {
            init: layers.read(&list::INIT_STORE, parse_switch)?,
            accept_unsafe: layers.read(&list::ACCEPT_UNSAFE_STORE, parse_switch)?,
            acknowledge: layers.read_set(&list::DURABILITY, parse_durability)?,
            username: layers.read_set(&list::STORE_USERNAME, parse_username)?,
            password: layers.read_set(&list::STORE_PASSWORD, parse_password)?,
            password_file: layers.read_set(&list::STORE_PASSWORD_FILE, parse_file)?,
        })
    }

    /// How to open the store at `address`.
    fn options(self, layers: &Layers<'_>, address: Address) -> Result<Options, Failure> {
        let tls = tls(layers, &address)?;
        let credentials = self.credentials(layers)?;
        Ok(Options {
            credentials,
            tls,
            acknowledge: self.acknowledge,
            init: self.init,
            accept_unsafe: self.accept_unsafe,
            ..Options::new(address)
        })
    }

    fn credentials(&self, layers: &Layers<'_>) -> Result<Option<Credentials>, Failure> {
        let password = match (&self.password, &self.password_file) {
            (Some(_), Some(_)) => {
                return Err(layers.value(&list::STORE_PASSWORD)?.wrong(format!(
                    "{} is to hold a password, too: leave one of them away",
                    layers.value(&list::STORE_PASSWORD_FILE)?.place()
                )));
            }
            (Some(password), None) => Some(password.clone()),
            (None, Some(_)) => Some(layers.read(&list::STORE_PASSWORD_FILE, read_secret)?),
            (None, None) => None,
        };
        match (&self.username, password) {
            (username, Some(password)) => Ok(Some(Credentials {
                username: username.clone(),
                password,
            })),
            (Some(_), None) => Err(layers.value(&list::STORE_USERNAME)?.wrong(
                "a user needs a password: set HOLDFAST_STORE_PASSWORD, or name a file with \
                 --store-password-file",
            )),
            (None, None) => Ok(None),
        }
    }
}

fn tls(layers: &Layers<'_>, address: &Address) -> Result<TlsFiles, Failure> {
    if !address.tls {
        return match in_force(layers, list::OF_TLS)? {
            Some(value) => Err(value.wrong(format!(
                "{address} is not reached over TLS: write rediss in place of redis, or leave \
                 this away"
            ))),
            None => Ok(TlsFiles::default()),
        };
    }
    let missing = |there: &'static Setting, other: &Setting| {
        let value = layers.value(there)?;
        Err(value.wrong(format!("it is of no use alone: set {} too", other.name)))
    };
    let cert = layers.read_set(&list::STORE_CLIENT_CERT, readable)?;
    let key = layers.read_set(&list::STORE_CLIENT_KEY, readable)?;
    let client = match (cert, key) {
        (Some(_), None) => missing(&list::STORE_CLIENT_CERT, &list::STORE_CLIENT_KEY)?,
        (None, Some(_)) => missing(&list::STORE_CLIENT_KEY, &list::STORE_CLIENT_CERT)?,
        (cert, key) => cert.zip(key),
    };
    Ok(TlsFiles {
        ca: layers.read_set(&list::STORE_CA, readable)?,
        client,
    })
}

fn parse_place(text: &str) -> Result<Place, String> {
    if text == EMBEDDED {
        return Ok(Place::Embedded);
    }
    match Address::parse(text) {
        Ok(address) => Ok(Place::Redis(address)),
        Err(error @ InvalidAddress::NoScheme) => {
            Err(format!("write {EMBEDDED}, or an address of Redis: {error}"))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn parse_dir(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() {
        return Err("name a directory");
    }
    Ok(PathBuf::from(text))
}

fn parse_durability(text: &str) -> Result<Acknowledge, &'static str> {
    match text {
        "local" => Ok(Acknowledge::Local),
        "replicated" => Ok(Acknowledge::Replicated),
        "replicated-strict" => Ok(Acknowledge::ReplicatedStrict),
        _ => Err("write replicated, replicated-strict or local"),
    }
}

fn parse_username(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("name a user of Redis, or leave it away");
    }
    Ok(text.to_owned())
}

fn parse_password(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err("it is empty: set it to the password, or leave it away");
    }
    Ok(text.to_owned())
}
