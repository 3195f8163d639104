//! The client and its calls.

use std::sync::Arc;
use std::time::Duration;

use proto::v1::admin_service_client::AdminServiceClient;
use proto::v1::inventory_service_client::InventoryServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::error::{Error, ErrorKind, History};
use crate::retry::{Call, Effect, Policy};

/// How a client connects and calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The most time for making a connection. Shorter than an attempt's, or a
    /// server that is not there looks like one that does not answer.
    pub connect_timeout: Duration,
    /// How every call of this client is made; [`Client::with_policy`] changes
    /// it for some.
    pub policy: Policy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            policy: Policy::default(),
        }
    }
}

/// A connection that has been silent for so long, while calls wait on it, is
/// asked for a sign of life ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// ... and given up after this, so that the next call makes a new one.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to one Holdfast server. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    address: Arc<str>,
    policy: Arc<Policy>,
}

/// What a server says of one of its services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It serves.
    Serving,
    /// It does not, for now.
    NotServing,
    /// It does not say.
    Unknown,
}

impl Client {
    /// A client that connects when it is first used. `address` is
    /// `http://host:port`; the scheme may be left out.
    ///
    /// Must be called on a tokio runtime, which drives the connection.
    pub fn lazy(address: &str, options: Options) -> Result<Self, Error> {
        let endpoint = endpoint(address, &options)?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::invalid("a client must be made on a tokio runtime"));
        }
        Ok(Self::over(endpoint.connect_lazy(), &endpoint, options))
    }

    /// A client that is connected now; tried once.
    pub async fn connect(address: &str, options: Options) -> Result<Self, Error> {
        let endpoint = endpoint(address, &options)?;
        match endpoint.connect().await {
            Ok(channel) => Ok(Self::over(channel, &endpoint, options)),
            Err(error) => {
                let address = endpoint.uri().to_string();
                let status = Status::from_error(Box::new(error));
                let kind = ErrorKind::Unreachable;
                let history = History {
                    address: shown(&address),
                    attempts: 1,
                    kind,
                };
                Err(Error::of_call(status, &history))
            }
        }
    }

    fn over(channel: Channel, endpoint: &Endpoint, options: Options) -> Self {
        let address = endpoint.uri().to_string();
        Self {
            channel,
            address: shown(&address).into(),
            policy: Arc::new(options.policy),
        }
    }

    /// The same connection with another policy.
    pub fn with_policy(&self, policy: Policy) -> Self {
        Self {
            policy: Arc::new(policy),
            ..self.clone()
        }
    }

    /// How this client calls.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whom this client calls, as `http://host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// All calls of the data plane as generated: no deadline, no retries.
    pub fn inventory(&self) -> InventoryServiceClient<Channel> {
        InventoryServiceClient::new(self.channel.clone())
    }

    /// All calls of the control plane as generated: no deadline, no retries.
    pub fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    /// What the server says of `service`; the empty name is the server itself.
    /// Never repeated: the question is how it is now. An unknown name is
    /// [`ErrorKind::Refused`].
    pub async fn health(&self, service: &str) -> Result<Health, Error> {
        let once = self.with_policy(Policy {
            attempts_max: 1,
            ..Policy::clone(&self.policy)
        });
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let send = |request| {
            let mut stub = HealthClient::new(self.channel.clone());
            async move { stub.check(request).await }
        };
        let reply = once
            .unchanged("Health/Check", Effect::Reads, request, send)
            .await?;
        Ok(match reply.status() {
            ServingStatus::Serving => Health::Serving,
            ServingStatus::NotServing => Health::NotServing,
            ServingStatus::Unknown | ServingStatus::ServiceUnknown => Health::Unknown,
        })
    }

    /// A call whose attempts are all the same.
    pub(crate) async fn unchanged<Q, R, F>(
        &self,
        rpc: &'static str,
        effect: Effect,
        request: Q,
        send: impl Fn(Request<Q>) -> F,
    ) -> Result<R, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.call(rpc, effect).run(request, |_| (), send).await
    }

    pub(crate) fn call(&self, rpc: &'static str, effect: Effect) -> Call<'_> {
        Call {
            rpc,
            effect,
            address: &self.address,
            policy: &self.policy,
        }
    }
}

/// Checks the address, and turns the options into tonic's.
fn endpoint(address: &str, options: &Options) -> Result<Endpoint, Error> {
    let wrong = |why: &str| {
        Error::invalid(format!(
            "{address:?} is no address of a server: {why}; write it like http://127.0.0.1:50051"
        ))
    };
    let url = match address.split_once("://") {
        Some(("http", _)) => address.to_owned(),
        Some(("https", _)) => return Err(wrong("TLS is not supported yet")),
        Some(_) => return Err(wrong("its scheme is not http")),
        None => format!("http://{address}"),
    };
    let endpoint = Endpoint::from_shared(url).map_err(|_| wrong("it is malformed"))?;
    let uri = endpoint.uri();
    if uri.port_u16().is_none() {
        return Err(wrong("it names no port, or an impossible one"));
    }
    if uri
        .path_and_query()
        .is_some_and(|path| path.as_str() != "/")
    {
        return Err(wrong("it has a path"));
    }
    Ok(endpoint
        .connect_timeout(options.connect_timeout)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT))
}

/// A URI without the slash that parsing adds.
fn shown(uri: &str) -> &str {
    uri.strip_suffix('/').unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_with_and_without_a_scheme() {
        for address in [
            "http://localhost:50051",
            "http://localhost:50051/",
            "localhost:50051",
        ] {
            let client = Client::lazy(address, Options::default()).unwrap();
            assert_eq!(client.address(), "http://localhost:50051", "{address}");
        }
        let client = Client::lazy("[::1]:50051", Options::default()).unwrap();
        assert_eq!(client.address(), "http://[::1]:50051");
    }

    #[tokio::test]
    async fn wrong_addresses_say_what_is_wrong() {
        let cases = [
            ("", "malformed"),
            ("localhost", "no port"),
            ("local host:1", "malformed"),
            ("https://localhost:50051", "TLS"),
            ("ftp://localhost:50051", "not http"),
            ("http://localhost:50051/v1", "path"),
            ("localhost:99999", "port"),
        ];
        for (address, part) in cases {
            let error = Client::lazy(address, Options::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(part), "{address}: {error}");
        }
    }

    #[test]
    fn a_client_without_a_runtime_is_an_error_and_no_panic() {
        let error = Client::lazy("localhost:50051", Options::default()).unwrap_err();
        assert!(error.to_string().contains("tokio runtime"), "{error}");
    }
}
