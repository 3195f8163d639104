//! How the process is asked to leave.

use std::io;
use std::thread;

use server::Drain;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// The signals that ask the process to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// An orchestrator's: callers are to be led elsewhere first.
    Terminate,
    /// Somebody pressed Ctrl-C and waits.
    Interrupt,
}

/// Watches for signals from now on; the returned future resolves with the
/// first. The second ends the process at once: who asks twice wants it gone.
///
/// The watch has a thread and a runtime of its own, so that it works before
/// the server has any, and also when the server hangs.
pub(super) fn watch() -> io::Result<impl Future<Output = Drain> + Send + 'static> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut signals = {
        let _context = runtime.enter();
        Signals::register()?
    };
    let (tell, told) = oneshot::channel();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let first = signals.next().await;
                tracing::info!(signal = ?first, "asked to leave; draining");
                // Nobody listens any more if the server has just ended by itself.
                tell.send(first.drain()).ok();
                let second = signals.next().await;
                tracing::warn!(signal = ?second, "asked again; leaving at once");
                leave_at_once(second);
            });
        })?;
    Ok(async {
        match told.await {
            Ok(drain) => drain,
            // The watch is gone: nobody can ask any more.
            Err(_) => std::future::pending().await,
        }
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Leave {
        tokio::select! {
            _ = self.terminate.recv() => Leave::Terminate,
            _ = self.interrupt.recv() => Leave::Interrupt,
        }
    }
}

impl Leave {
    fn drain(self) -> Drain {
        match self {
            Self::Terminate => Drain::WithGrace,
            Self::Interrupt => Drain::AtOnce,
        }
    }

    /// What shells report for a process that died of the signal.
    fn code(self) -> i32 {
        match self {
            Self::Terminate => 128 + 15,
            Self::Interrupt => 128 + 2,
        }
    }
}

#[expect(
    clippy::exit,
    reason = "whatever still runs is what somebody wants to end"
)]
fn leave_at_once(signal: Leave) -> ! {
    std::process::exit(signal.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigterm_has_a_grace_period_and_ctrl_c_has_none() {
        assert!(matches!(Leave::Terminate.drain(), Drain::WithGrace));
        assert!(matches!(Leave::Interrupt.drain(), Drain::AtOnce));
    }
}
