//! Who is let in, who is not, and what gives the room back.

use std::future::poll_fn;

use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;

/// A message in pieces.
struct Pieces {
    left: Vec<Bytes>,
    /// Whether it ends after them, or more is waited for.
    ends: bool,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.left.pop() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

fn body(pieces: &[&'static [u8]], ends: bool) -> Body {
    let left = pieces.iter().rev().map(|piece| Bytes::from_static(piece));
    Body::new(Pieces {
        left: left.collect(),
        ends,
    })
}

fn request(path: &str, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.uri_mut() = path.parse().unwrap();
    request
}

/// Reads a body to its end.
async fn read(body: &mut Body) -> Result<(), Status> {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        frame?;
    }
    Ok(())
}

/// Lets a whole call in; it keeps its place until what is returned is dropped.
async fn let_in(doors: &Admission, path: &str) -> Result<Entered, Status> {
    let mut request = request(path, body(&[b"message"], true));
    let entered = doors.enter(&mut request).map_err(Status::from)?;
    read(request.body_mut()).await?;
    Ok(entered)
}

#[track_caller]
fn is_shed(refused: &Status) {
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
    let delay = details.retry_info().unwrap().retry_delay.unwrap();
    let pushback = refused.metadata().get("grpc-retry-pushback-ms").unwrap();
    assert_eq!(*pushback, *delay.as_millis().to_string());
}

const RESERVE: &str = "/holdfast.inventory.v1.InventoryService/Reserve";
const CONFIRM: &str = "/holdfast.inventory.v1.InventoryService/Confirm";
const PAUSE: &str = "/holdfast.inventory.v1.AdminService/PauseItem";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

#[tokio::test]
async fn a_crowd_that_buys_leaves_room_to_those_who_paid_and_to_operators() {
    let doors = Admission::default();
    let mut inside = Vec::new();
    for _ in 0..BUYING_MAX {
        inside.push(let_in(&doors, RESERVE).await.unwrap());
    }
    is_shed(&let_in(&doors, RESERVE).await.unwrap_err());
    for _ in BUYING_MAX..ENDING_MAX {
        inside.push(let_in(&doors, CONFIRM).await.unwrap());
    }
    is_shed(&let_in(&doors, CONFIRM).await.unwrap_err());
    for _ in 0..OPERATING_MAX {
        inside.push(let_in(&doors, PAUSE).await.unwrap());
    }
    is_shed(&let_in(&doors, PAUSE).await.unwrap_err());
    inside.push(let_in(&doors, HEALTH).await.unwrap());

    // Who goes makes room for one.
    inside.truncate(BUYING_MAX - 1);
    inside.push(let_in(&doors, RESERVE).await.unwrap());
    is_shed(&let_in(&doors, RESERVE).await.unwrap_err());
    drop(inside);
    let_in(&doors, RESERVE).await.unwrap();
    let left = (&doors.0.data, &doors.0.control, &doors.0.messages);
    let left = [left.0, left.1, left.2].map(|n| n.load(Ordering::Relaxed));
    assert_eq!(left, [0, 0, 0]);
}

#[tokio::test]
async fn who_arrives_when_the_last_place_is_gone_is_shed_too() {
    let doors = Admission::default();
    let mut late = request(RESERVE, body(&[b"message"], true));
    let _late = doors.enter(&mut late).unwrap();
    let mut inside = Vec::new();
    for _ in 0..BUYING_MAX {
        inside.push(let_in(&doors, RESERVE).await.unwrap());
    }
    is_shed(&read(late.body_mut()).await.unwrap_err());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_arrive_takes_no_place_and_is_not_waited_for() {
    let doors = Admission::default();
    let mut unfinished = request(RESERVE, body(&[b"half a "], false));
    let entered = doors.enter(&mut unfinished).unwrap();
    let refused = read(unfinished.body_mut()).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded);
    let info = refused.get_details_error_info().unwrap();
    assert_eq!(info.reason, "DEADLINE_TOO_SHORT");
    assert_eq!(doors.0.data.load(Ordering::Relaxed), 0);
    drop((unfinished, entered));
    assert_eq!(doors.0.messages.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn messages_have_a_bound_together() {
    static MIB: [u8; 1 << 20] = [0; 1 << 20];
    let doors = Admission::default();
    let mut arriving = Vec::new();
    for _ in 0..MESSAGES_BYTES_MAX / MIB.len() {
        let mut request = request(RESERVE, body(&[&MIB], true));
        let entered = doors.enter(&mut request).unwrap();
        read(request.body_mut()).await.unwrap();
        arriving.push((entered, request));
    }
    is_shed(&let_in(&doors, RESERVE).await.unwrap_err());
    arriving.pop();
    let_in(&doors, RESERVE).await.unwrap();
}
