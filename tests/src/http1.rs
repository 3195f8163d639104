//! Plain HTTP by hand: one request, and all that comes until the server closes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::within;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status, such as 200.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The rest.
    pub body: String,
}

/// Asks `host:port` for a page.
pub async fn http(authority: &str, method: &str, path: &str) -> Page {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    let text = within("a page", async {
        let mut wire = TcpStream::connect(authority).await?;
        wire.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        wire.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    });
    let text = text
        .await
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let page = text.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let (head, body) = (head.to_owned(), body.to_owned());
        Some(Page { status, head, body })
    });
    page.unwrap_or_else(|| panic!("{method} {path}: no HTTP in {text:?}"))
}
