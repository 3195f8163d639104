//! What a node says about its cluster.

use std::ops::RangeInclusive;

/// `CLUSTER NODES` of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View(pub Vec<Member>);

/// What a node says about one of the cluster, itself included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id, 40 hexadecimal digits.
    pub id: String,
    /// Where clients find it, as `host:port`.
    pub address: String,
    /// Such as `myself`, `master`, `slave`, `fail?`, `fail`, `handshake`.
    pub flags: Vec<String>,
    /// The id of the master that it copies.
    pub master: Option<String>,
    /// Its configuration's epoch.
    pub epoch: u64,
    /// Whether the node that says so has a connection to it.
    pub is_linked: bool,
    /// What it serves.
    pub slots: Vec<RangeInclusive<u16>>,
}

impl Member {
    /// Whether it has this flag.
    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|other| other == flag)
    }

    /// Whether it serves this slot.
    pub fn serves(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let id = words.next()?.to_owned();
        let (address, _) = words.next()?.split_once('@')?;
        let flags = words.next()?.split(',').map(Into::into).collect();
        let master = words.next().filter(|&id| id != "-").map(Into::into);
        let epoch = words.nth(2)?.parse().ok()?;
        let is_linked = words.next()? == "connected";
        // In brackets: a slot that is being moved.
        let slots = words
            .filter(|word| !word.starts_with('['))
            .map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                Some(first.parse().ok()?..=last.parse().ok()?)
            })
            .collect::<Option<_>>()?;
        Some(Self {
            id,
            address: address.into(),
            flags,
            master,
            epoch,
            is_linked,
            slots,
        })
    }
}

impl View {
    /// Reads it.
    #[track_caller]
    pub(super) fn parse(text: &str) -> Self {
        let member = |line| Member::parse(line).unwrap_or_else(|| panic!("not a node: {line}"));
        Self(text.lines().map(member).collect())
    }

    /// The member of this id.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.0.iter().find(|member| member.id == id)
    }

    /// Who serves a slot.
    pub fn master_of_slot(&self, slot: u16) -> Option<&Member> {
        self.0.iter().find(|member| member.serves(slot))
    }
}
