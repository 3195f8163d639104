//! What the bytes must be: HTTP/2 by hand.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::harness::{PATIENCE, Server};

const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn write_frame(to: &mut TcpStream, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = len[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    to.write_all(&bytes).unwrap();
}

fn read_frame(from: &mut TcpStream) -> Frame {
    let mut head = [0; 9];
    from.read_exact(&mut head).unwrap();
    let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; len as usize];
    from.read_exact(&mut payload).unwrap();
    Frame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
        payload,
    }
}

/// A header block of literals without indexing and without Huffman (RFC 7541,
/// 6.2.2): the simplest there is.
fn header_block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "would need a longer length");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.bytes());
        }
    }
    block
}

/// Calls an rpc with an empty message; the frames of its stream up to its end.
fn call(server: &Server, path: &str, extra: Option<(&str, &str)>, message: &[u8]) -> Vec<Frame> {
    let mut wire = TcpStream::connect(server.address).unwrap();
    wire.set_read_timeout(Some(PATIENCE)).unwrap();
    wire.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    write_frame(&mut wire, 4, 0, 0, &[]); // SETTINGS
    let mut headers = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    headers.extend(extra);
    write_frame(&mut wire, HEADERS, END_HEADERS, 1, &header_block(&headers));
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    write_frame(&mut wire, 0, END_STREAM, 1, &body);
    let mut frames = Vec::new();
    loop {
        let frame = read_frame(&mut wire);
        if frame.stream == 1 {
            let ends = frame.flags & END_STREAM != 0;
            frames.push(frame);
            if ends {
                return frames;
            }
        }
    }
}

fn kinds(frames: &[Frame]) -> Vec<u8> {
    frames.iter().map(|frame| frame.kind).collect()
}

const RESERVE: &str = "/holdfast.inventory.v1.InventoryService/Reserve";
const STATUS: &str = "/holdfast.inventory.v1.AdminService/GetStatus";
const WATCH: &str = "/holdfast.inventory.v1.InventoryService/WatchStock";

/// gRPC clients retry only errors that come without headers before them.
#[test]
fn errors_are_trailers_only() {
    let server = Server::start();
    let cases = [
        (RESERVE, None, &[][..]),                      // from a handler
        (RESERVE, None, &[0xff]),                      // from the decoder
        (RESERVE, Some(("grpc-timeout", "0n")), &[]),  // from our layer
        (WATCH, None, &[]),                            // of a stream
        ("/holdfast.inventory.v1.No/Such", None, &[]), // from the router
    ];
    for (path, header, message) in cases {
        let frames = call(&server, path, header, message);
        assert_eq!(kinds(&frames), [HEADERS], "{path} {header:?}");
        assert!(!frames[0].payload.is_empty());
    }
    // The measure works: a reply is headers, data, trailers.
    assert_eq!(
        kinds(&call(&server, STATUS, None, &[])),
        [HEADERS, 0, HEADERS]
    );
}
