//! Moving a slot from one master to another, step by step.

use super::cluster::Cluster;

/// A slot on its way. While it is, neither master serves all its keys.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    /// The slot.
    pub slot: u16,
    /// The node that had it.
    pub from: usize,
    /// The node that gets it.
    pub to: usize,
}

impl Cluster {
    /// Declares that a slot moves to another master.
    #[track_caller]
    pub fn begin_move(&self, slot: u16, to: usize) -> Move {
        let from = self.master_of_slot(slot);
        let number = slot.to_string();
        let importing = ["CLUSTER", "SETSLOT", &number, "IMPORTING", self.id(from)];
        self.node(to).ask(&importing);
        let migrating = ["CLUSTER", "SETSLOT", &number, "MIGRATING", self.id(to)];
        self.node(from).ask(&migrating);
        Move { slot, from, to }
    }

    /// Moves keys of the slot, so many at most; the number that were moved.
    #[track_caller]
    pub fn move_keys(&self, step: Move, limit: usize) -> usize {
        let (slot, limit) = (step.slot.to_string(), limit.to_string());
        let from = self.node(step.from);
        let keys = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, &limit]);
        let keys: Vec<_> = keys.items().iter().map(super::Value::bytes).collect();
        if keys.is_empty() {
            return 0;
        }
        let to = self.node(step.to);
        let (host, port) = (to.host().to_owned(), to.port().to_string());
        let mut words: Vec<&[u8]> = vec![b"MIGRATE", host.as_bytes(), port.as_bytes()];
        words.extend([b"".as_slice(), b"0", b"5000", b"KEYS"]);
        words.extend(keys.iter().map(|key| &**key));
        from.ask(&words);
        keys.len()
    }

    /// Moves a slot to another master, all at once.
    #[track_caller]
    pub fn move_slot(&self, slot: u16, to: usize) {
        let step = self.begin_move(slot, to);
        self.finish_move(step);
    }

    /// Moves what is left and hands the slot over; waits until all agree.
    #[track_caller]
    pub fn finish_move(&self, step: Move) {
        while self.move_keys(step, 100) > 0 {}
        let slot = step.slot.to_string();
        // The new master first: the old one's word alone would be lost with it.
        for index in [step.to, step.from] {
            let assign = ["CLUSTER", "SETSLOT", &slot, "NODE", self.id(step.to)];
            self.node(index).ask(&assign);
        }
        super::poll("a slot that has moved", || {
            let all = self.nodes().iter().filter(|node| node.is_awake());
            for node in all {
                let view = Self::view_of(node)?;
                let master = view.master_of_slot(step.slot);
                if master.is_none_or(|master| master.id != self.id(step.to)) {
                    return Err(format!("{} says {master:?}", node.address()));
                }
            }
            Ok(())
        });
    }
}
