//! What is answered at which path.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};

use crate::figures::Figures;
use crate::grpc::Health;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The version of the format, as Prometheus asks for.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

type Page = Response<Full<Bytes>>;

/// The pages of a server.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    figures: Figures,
    health: Health,
}

impl Pages {
    pub(crate) fn new(figures: Figures, health: Health) -> Self {
        Self { figures, health }
    }

    /// The answer to a request without a body.
    pub(super) async fn get(&self, method: &Method, path: &str) -> Page {
        let known = matches!(path, "/metrics" | "/healthz" | "/readyz");
        if known && !matches!(*method, Method::GET | Method::HEAD) {
            let mut page = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            let allowed = HeaderValue::from_static("GET, HEAD");
            page.headers_mut().insert(ALLOW, allowed);
            return page;
        }
        match path {
            "/metrics" => page(StatusCode::OK, METRICS, self.figures.text()),
            // Whoever answers this makes progress. A server must not be killed
            // because its store is away, or because it drains.
            "/healthz" => text(StatusCode::OK, "ok"),
            "/readyz" => match self.health.readiness().await {
                Ok(()) => text(StatusCode::OK, "ok"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /metrics, /healthz and /readyz",
            ),
        }
    }

    #[cfg(test)]
    pub(super) async fn of_a_starting_server() -> Self {
        let figures = Figures::new().unwrap();
        Self::new(figures, Health::of_a_starting_server().await)
    }
}

fn text(status: StatusCode, line: &str) -> Page {
    page(status, TEXT, format!("{line}\n"))
}

fn page(status: StatusCode, kind: HeaderValue, body: String) -> Page {
    let mut page = Response::new(Full::new(Bytes::from(body)));
    *page.status_mut() = status;
    page.headers_mut().insert(CONTENT_TYPE, kind);
    page
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn paths_and_methods() {
        let pages = Pages::of_a_starting_server().await;
        let get = async |method: Method, path: &str| {
            let page = pages.get(&method, path).await;
            let allow = page.headers().contains_key(ALLOW);
            let status = page.status().as_u16();
            let body = page.into_body().collect().await.unwrap().to_bytes();
            (status, allow, String::from_utf8(body.into()).unwrap())
        };
        let (status, _, body) = get(Method::GET, "/metrics").await;
        assert_eq!(status, 200);
        assert!(body.contains("holdfast_build_info{version="), "{body}");
        let is = |status, body: &str| (status, false, body.to_owned());
        assert_eq!(get(Method::GET, "/healthz").await, is(200, "ok\n"));
        assert_eq!(get(Method::HEAD, "/healthz").await, is(200, "ok\n"));
        assert_eq!(get(Method::GET, "/readyz").await, is(503, "starting\n"));
        for path in ["/", "/metrics/", "/Metrics", "*", ""] {
            assert_eq!(get(Method::GET, path).await.0, 404, "{path}");
            assert_eq!(get(Method::POST, path).await.0, 404, "{path}");
        }
        for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
            let (status, allow, _) = get(method, "/metrics").await;
            assert_eq!((status, allow), (405, true));
        }
    }
}
