//! Connections to single nodes. ⚔ One never reconnects by itself and never
//! sends anything twice: what breaks is replaced by whoever owns it.

use std::path::Path;
use std::time::Duration;

use fred::clients::Client;
use fred::error::ErrorKind;
use fred::interfaces::{ClientLike, EventInterface};
use fred::rustls::pki_types::pem::PemObject;
use fred::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use fred::rustls::{ClientConfig, RootCertStore};
use fred::types::config::{
    Config, ConnectionConfig, Options as CommandOptions, PerformanceConfig, ReconnectPolicy,
    Server, ServerConfig, TcpConfig, TlsConfig, TlsConnector,
};
use fred::types::{Builder, ClusterHash, ConnectHandle, CustomCommand, Message, Value};
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

use super::fault::Fault;
use super::options::{Credentials, Options, TlsFiles};
use super::survey::Endpoint;
use crate::rules::{Rule, holds};

/// Longest wait for a connection, its greeting included.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(500);

/// Things of which the driver tells by itself and that wait to be heard, where
/// nobody listens; as it has it.
const UNHEARD_MAX: usize = 32;

/// How to connect to any node of one store.
#[derive(Clone)]
pub(super) struct Connector {
    credentials: Option<Credentials>,
    tls: Option<TlsConnector>,
}

/// A command and its arguments.
pub(super) struct Command {
    name: &'static str,
    arguments: Vec<Value>,
}

impl Command {
    pub(super) fn new<A: Into<Value>>(
        name: &'static str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { name, arguments }
    }
}

/// A connection to one node. Dropping it closes it.
pub(super) struct Connection {
    client: Client,
    task: AbortHandle,
}

/// A connection on which a node says things by itself.
pub(super) struct Listening {
    pub connection: Connection,
    /// What it says.
    pub messages: broadcast::Receiver<Message>,
    /// Ends with the connection.
    pub end: ConnectHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connector {
    /// Reads the files that TLS needs.
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let tls = options
            .address
            .tls
            .then(|| tls_connector(&options.tls))
            .transpose()?;
        Ok(Self {
            credentials: options.credentials.clone(),
            tls,
        })
    }

    /// Connects and greets.
    pub(super) async fn connect(&self, to: &Endpoint) -> Result<Connection, Fault> {
        let Listening { connection, .. } = self.open(to, UNHEARD_MAX).await?;
        Ok(connection)
    }

    /// The same, to be told things: up to this many may be waiting to be heard.
    pub(super) async fn connect_to_listen(
        &self,
        to: &Endpoint,
        messages_max: usize,
    ) -> Result<Listening, Fault> {
        self.open(to, messages_max).await
    }

    async fn open(&self, to: &Endpoint, messages_max: usize) -> Result<Listening, Fault> {
        let config = Config {
            username: self.credentials.as_ref().and_then(|c| c.username.clone()),
            password: self.credentials.as_ref().map(|c| c.password.clone()),
            server: ServerConfig::Centralized {
                server: Server::new(to.host.as_str(), to.port),
            },
            tls: self.tls.clone().map(TlsConfig::from),
            ..Config::default()
        };
        let mut builder = Builder::from_config(config);
        let sent_once = holds(Rule::NothingIsSentTwice);
        if !sent_once {
            // As the driver would have it.
            builder.set_policy(ReconnectPolicy::new_constant(0, 1));
        }
        let client = builder
            .with_connection_config(|config: &mut ConnectionConfig| {
                config.connection_timeout = CONNECT_TIME_MAX;
                config.internal_command_timeout = CONNECT_TIME_MAX;
                if sent_once {
                    config.max_command_attempts = 1;
                }
                config.max_redirections = 0;
                config.disable_cluster_health_check = true;
                config.tcp = TcpConfig {
                    nodelay: Some(true),
                    ..TcpConfig::default()
                };
            })
            .with_performance_config(|config: &mut PerformanceConfig| {
                config.max_feed_count = 1_000;
                config.broadcast_channel_capacity = messages_max;
            })
            .build()
            .map_err(|error| Fault::of(&error, true))?;
        let messages = client.message_rx();
        // No reconnect policy was set: its task ends with the connection.
        let connected = tokio::time::timeout(2 * CONNECT_TIME_MAX, client.init()).await;
        let end = match connected {
            Ok(Ok(end)) => end,
            Ok(Err(error)) if *error.kind() != ErrorKind::Timeout => {
                let mut text = readable(error.details());
                if self.tls.is_none() && error.details().contains("ConnectionReset") {
                    text += "; perhaps it wants TLS (rediss in place of redis)";
                }
                return Err(Fault::NotDone(text));
            }
            Ok(Err(_)) | Err(_) if self.tls.is_some() => {
                return Err(Fault::NotDone("it does not answer over TLS".to_owned()));
            }
            Ok(Err(_)) | Err(_) => return Err(Fault::NotDone("it does not answer".to_owned())),
        };
        let task = end.abort_handle();
        Ok(Listening {
            connection: Connection { client, task },
            messages,
            end,
        })
    }
}

impl Connection {
    /// It was closed, by whichever end: nothing is sent any more. The driver
    /// would take what it is given and never answer.
    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Sends commands as one pipeline: in their order, with nothing between
    /// them. As many results as commands. `scripts`: how many of them may
    /// change something.
    pub(super) async fn ask(
        &self,
        commands: Vec<Command>,
        scripts: usize,
        time_max: Duration,
    ) -> Vec<Result<Value, Fault>> {
        let count = commands.len();
        let sent_once = holds(Rule::NothingIsSentTwice);
        if self.is_over() {
            return vec![Err(Fault::Closed); count];
        }
        let options = CommandOptions {
            max_attempts: sent_once.then_some(1),
            max_redirections: Some(0),
            timeout: Some(time_max),
            fail_fast: sent_once,
            ..CommandOptions::default()
        };
        let sender = self.client.with_options(&options);
        let pipeline = sender.pipeline();
        for Command { name, arguments } in commands {
            let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
            // Only queues it; what could fail, fails for the whole pipeline.
            let queued: Result<Value, _> = pipeline.custom(command, arguments).await;
            if let Err(error) = queued {
                let fault = Fault::NotDone(error.details().to_owned());
                return vec![Err(fault); count];
            }
        }
        let alone = scripts <= 1;
        let answers = tokio::time::timeout(time_max, pipeline.try_all::<Value>()).await;
        let Ok(answers) = answers else {
            let fault = Fault::Unknown(format!("no answer within {time_max:?}"));
            return vec![Err(fault); count];
        };
        // One error can stand for all: then none of them was answered.
        if answers.len() != count {
            let fault = match answers.into_iter().find_map(Result::err) {
                Some(error) => Fault::of(&error, alone),
                None => Fault::Unknown("an answer of another length".to_owned()),
            };
            return vec![Err(fault); count];
        }
        answers
            .into_iter()
            .map(|answer| answer.map_err(|error| Fault::of(&error, true)))
            .collect()
    }

    /// One command that changes nothing.
    pub(super) async fn ask_one(
        &self,
        command: Command,
        time_max: Duration,
    ) -> Result<Value, Fault> {
        let mut answers = self.ask(vec![command], 0, time_max).await;
        answers
            .pop()
            .unwrap_or_else(|| Err(Fault::Unknown("no answer".to_owned())))
    }
}

/// The driver prints the errors of sockets and of TLS as Rust does for programmers.
fn readable(details: &str) -> String {
    let quoted = details
        .strip_prefix("Os {")
        .and_then(|os| os.split_once("message: \"")?.1.split('"').next());
    let wrapped = details
        .strip_prefix("Custom {")
        .and_then(|custom| custom.split_once("error: ")?.1.strip_suffix(" }"));
    quoted.or(wrapped).unwrap_or(details).to_owned()
}

fn tls_connector(files: &TlsFiles) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let trusted = match &files.ca {
        Some(path) => certificates(path).map_err(|error| format!("--store-ca {error}"))?,
        None => fred::rustls_native_certs::load_native_certs().certs,
    };
    for certificate in trusted {
        roots
            .add(certificate)
            .map_err(|error| format!("an authority's certificate cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err("there is no authority to trust: name one with --store-ca".to_owned());
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = match &files.client {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)
                .map_err(|error| format!("--store-client-cert {error}"))?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("--store-client-key {}: {error}", key.display()))?;
            config
                .with_client_auth_cert(chain, secret)
                .map_err(|error| {
                    format!("--store-client-cert and --store-client-key do not fit: {error}")
                })?
        }
    };
    Ok(config.into())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| format!("{}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{}: there is no certificate in it", path.display()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_driver_are_told_to_people() {
        for (details, told) in [
            (
                "Os { code: 111, kind: ConnectionRefused, message: \"Connection refused\" }",
                "Connection refused",
            ),
            (
                "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }",
                "InvalidCertificate(UnknownIssuer)",
            ),
            ("WRONGPASS invalid", "WRONGPASS invalid"),
            ("Os {", "Os {"),
        ] {
            assert_eq!(readable(details), told);
        }
    }
}
