//! A link that can be slow, cut, or closed: a thread for each direction of each
//! connection, between a caller and a node.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::connection::TIMEOUT;
use super::wait::now;

/// What is passed on at once, at most.
const CHUNK_LEN: usize = 64 * 1024;

/// A port of the loopback whose connections lead to somewhere else.
///
/// What is cut stands still, as a network that loses everything makes it stand
/// still: nothing arrives, nothing is closed, and what was sent meanwhile
/// arrives when the link is whole again, as TCP sends it once more. Unlike
/// there, a new connection is accepted, and then stands still.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    link: Arc<Link>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Link {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

/// Says whether connections from an address stand still.
type Cut = Box<dyn Fn(IpAddr) -> bool + Send>;

struct State {
    delay: Duration,
    cut: Cut,
    is_over: bool,
    /// Both ends of each connection, by its number.
    open: BTreeMap<u64, Vec<TcpStream>>,
    accepted: u64,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("delay", &self.delay)
            .field("open", &self.open.len())
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// On a free port, to a node's address.
    #[track_caller]
    pub fn to(target: SocketAddr) -> Self {
        Self::between(([127, 0, 0, 1], 0).into(), target)
    }

    /// From this address to that one.
    #[track_caller]
    pub(super) fn between(listen: SocketAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(listen);
        let listener = listener.unwrap_or_else(|error| panic!("{listen}: {error}"));
        let address = listener.local_addr().expect("its address");
        let link = Arc::new(Link {
            target,
            state: Mutex::new(State {
                delay: Duration::ZERO,
                cut: Box::new(|_| false),
                is_over: false,
                open: BTreeMap::new(),
                accepted: 0,
            }),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&link);
        Self {
            address,
            link,
            acceptor: Some(thread::spawn(move || accept(&listener, &accepting))),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on everything takes so much longer, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.link.change(|state| state.delay = delay);
    }

    /// Nothing passes any more, in neither direction.
    pub fn cut(&self) {
        self.cut_from(|_| true);
    }

    /// The same for some, by the address that their connections come from.
    pub(super) fn cut_from(&self, cut: impl Fn(IpAddr) -> bool + Send + 'static) {
        self.link.change(|state| state.cut = Box::new(cut));
    }

    /// Whole again.
    pub fn heal(&self) {
        self.cut_from(|_| false);
    }

    /// Closes all connections that are open; new ones may come.
    pub fn close(&self) {
        close(&self.link.state());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.change(|state| {
            state.is_over = true;
            close(state);
        });
        // Wakes the thread that accepts; if it cannot be reached, it is gone.
        let _ = TcpStream::connect_timeout(&self.address, TIMEOUT);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn close(state: &State) {
    for stream in state.open.values().flatten() {
        // Fails for one that has been closed.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits until something from this address may pass. Whether it may.
    fn pass(&self, from: IpAddr) -> bool {
        let arrived = now();
        let mut state = self.state();
        loop {
            let due = (arrived + state.delay).saturating_duration_since(now());
            let is_cut = (state.cut)(from);
            state = if state.is_over {
                return false;
            } else if is_cut {
                let woken = self.changed.wait(state);
                woken.unwrap_or_else(PoisonError::into_inner)
            } else if due.is_zero() {
                return true;
            } else {
                let woken = self.changed.wait_timeout(state, due);
                woken.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    /// Notes one end of a connection; `None` when all is over.
    fn register(&self, number: u64, stream: &TcpStream) -> Option<()> {
        let mut state = self.state();
        if state.is_over {
            return None;
        }
        let stream = stream.try_clone().ok()?;
        state.open.entry(number).or_default().push(stream);
        Some(())
    }
}

fn accept(listener: &TcpListener, link: &Arc<Link>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for stream in listener.incoming() {
        let number = {
            let mut state = link.state();
            if state.is_over {
                break;
            }
            state.accepted += 1;
            state.accepted
        };
        // One that was closed before we came to it.
        let Ok(stream) = stream else { continue };
        let link = Arc::clone(link);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread::spawn(move || {
            // Nobody can be told why; both ends see that it is closed.
            let _ = serve(&link, number, stream);
            link.change(|state| {
                state.open.remove(&number);
            });
        }));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Passes on what a connection says, both ways, until it ends.
fn serve(link: &Arc<Link>, number: u64, caller: TcpStream) -> Option<()> {
    let from = caller.peer_addr().ok()?.ip();
    link.register(number, &caller)?;
    if !link.pass(from) {
        return None;
    }
    let node = TcpStream::connect_timeout(&link.target, TIMEOUT).ok()?;
    link.register(number, &node)?;
    for stream in [&caller, &node] {
        stream.set_nodelay(true).ok()?;
    }
    let (to_caller, of_node) = (caller.try_clone().ok()?, node.try_clone().ok()?);
    let back = {
        let link = Arc::clone(link);
        thread::spawn(move || pump(&link, from, of_node, to_caller))
    };
    pump(link, from, caller, node);
    let _ = back.join();
    Some(())
}

/// Passes on one direction until its end, and the end.
fn pump(link: &Link, source: IpAddr, mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = vec![0; CHUNK_LEN];
    loop {
        let len = from.read(&mut chunk).unwrap_or(0);
        let passed = link.pass(source);
        if len == 0 || !passed || to.write_all(&chunk[..len]).is_err() {
            break;
        }
    }
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Read);
    let _ = to.shutdown(Shutdown::Write);
}
