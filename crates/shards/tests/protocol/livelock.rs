//! Whether requests can go round in circles for ever although each of them is
//! let go on again and again.
//!
//! A strongly connected component of the state graph is such a circle if in it
//! every request that is not answered yet takes a step (else the circle only
//! exists because somebody is never let on), and no waiting would end it. What
//! the environment does uses up its budget, so it is in no circle.

/// The graph, as far as this needs it.
pub(crate) struct Graph {
    /// From, to, and which request moved.
    pub edges: Vec<(u32, u32, Option<u8>)>,
    /// Of each state: the requests that are not answered, a bit each.
    pub undecided: Vec<u8>,
    /// Of each state: time would help.
    pub time_helps: Vec<bool>,
}

/// Steps of a circle: states and where they lead.
pub(crate) type Circle = Vec<(u32, u32)>;

struct Rows {
    starts: Vec<u32>,
    targets: Vec<(u32, Option<u8>)>,
}

impl Graph {
    /// A circle in which requests live for ever, if there is one.
    pub(crate) fn livelock(&self) -> Option<Circle> {
        let rows = self.rows();
        let component = components(&rows);
        let count = component.iter().max().map_or(0, |most| *most as usize + 1);
        let mut moved = vec![0_u8; count];
        let mut inner = vec![false; count];
        let mut helped = vec![false; count];
        for (from, to, mover) in &self.edges {
            let of = component[*from as usize];
            if of == component[*to as usize] {
                inner[of as usize] = true;
                moved[of as usize] |= mover.map_or(0, |request| 1 << request);
            }
        }
        for (state, of) in component.iter().enumerate() {
            helped[*of as usize] |= self.time_helps[state];
        }
        let state = (0..component.len()).find(|state| {
            let of = component[*state] as usize;
            let undecided = self.undecided[*state];
            inner[of] && !helped[of] && undecided != 0 && undecided & !moved[of] == 0
        })?;
        Some(self.walk(&rows, &component, u32::try_from(state).unwrap()))
    }

    fn rows(&self) -> Rows {
        let mut starts = vec![0_u32; self.undecided.len() + 1];
        for (from, _, _) in &self.edges {
            starts[*from as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut targets = vec![(0, None); self.edges.len()];
        for (from, to, mover) in &self.edges {
            let at = &mut next[*from as usize];
            targets[*at as usize] = (*to, *mover);
            *at += 1;
        }
        Rows { starts, targets }
    }

    /// A walk from a state back to it, on which each request moves.
    fn walk(&self, rows: &Rows, component: &[u32], start: u32) -> Circle {
        let mut circle = Vec::new();
        let mut at = start;
        for request in (0..8).filter(|r| self.undecided[start as usize] & (1 << r) != 0) {
            let moves = |_, _, mover| mover == Some(request);
            let part = shortest(rows, component, at, moves);
            at = part.last().map_or(at, |(_, to)| *to);
            circle.extend(part);
        }
        if at != start {
            circle.extend(shortest(rows, component, at, |_, to, _| to == start));
        }
        circle
    }
}

/// The shortest way within a component that ends in such an edge.
fn shortest(
    rows: &Rows,
    component: &[u32],
    start: u32,
    ends: impl Fn(u32, u32, Option<u8>) -> bool,
) -> Circle {
    let mut came = std::collections::HashMap::from([(start, start)]);
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(from) = queue.pop_front() {
        for (to, mover) in rows.of(from) {
            if component[*to as usize] != component[start as usize] {
                continue;
            }
            if ends(from, *to, *mover) {
                let mut way = vec![(from, *to)];
                let mut at = from;
                while at != start {
                    let before = came[&at];
                    way.push((before, at));
                    at = before;
                }
                way.reverse();
                return way;
            }
            came.entry(*to).or_insert_with(|| {
                queue.push_back(*to);
                from
            });
        }
    }
    Vec::new()
}

impl Rows {
    fn of(&self, state: u32) -> &[(u32, Option<u8>)] {
        let state = state as usize;
        &self.targets[self.starts[state] as usize..self.starts[state + 1] as usize]
    }
}

/// The component of each state, by number (Tarjan's algorithm, without
/// recursion: paths are long).
fn components(rows: &Rows) -> Vec<u32> {
    const NONE: u32 = u32::MAX;
    let states = rows.starts.len() - 1;
    let mut index = vec![NONE; states];
    let mut low = vec![0_u32; states];
    let mut component = vec![NONE; states];
    let mut stack: Vec<u32> = Vec::new();
    let mut calls: Vec<(u32, usize)> = Vec::new();
    let (mut next_index, mut next_component) = (0, 0);
    for root in 0..u32::try_from(states).unwrap() {
        if index[root as usize] != NONE {
            continue;
        }
        calls.push((root, 0));
        while let Some((state, edge)) = calls.pop() {
            let at = state as usize;
            if edge == 0 {
                index[at] = next_index;
                low[at] = next_index;
                next_index += 1;
                stack.push(state);
            }
            let rest = &rows.of(state)[edge..];
            let unseen = rest.iter().position(|(to, _)| {
                let to = *to as usize;
                if index[to] != NONE && component[to] == NONE {
                    low[at] = low[at].min(index[to]);
                }
                index[to] == NONE
            });
            if let Some(skipped) = unseen {
                calls.push((state, edge + skipped + 1));
                calls.push((rest[skipped].0, 0));
                continue;
            }
            if low[at] == index[at] {
                while let Some(member) = stack.pop() {
                    component[member as usize] = next_component;
                    if member == state {
                        break;
                    }
                }
                next_component += 1;
            }
            if let Some((caller, _)) = calls.last() {
                let caller = *caller as usize;
                low[caller] = low[caller].min(low[at]);
            }
        }
    }
    component
}
