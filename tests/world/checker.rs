//! What everybody saw, held against what was sent, acknowledged and stored.

use std::collections::{HashMap, HashSet};

/// A line as it was shown or stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownMessage {
    pub seq: u64,
    pub id: String,
    pub text: String,
}

/// One run: who sent what, what came of it, and what each client has shown.
#[derive(Clone, Default)]
pub struct Run {
    /// Text by id.
    pub sent: HashMap<String, String>,
    /// Each writer's ids in the order in which they were typed.
    pub turns: Vec<Vec<String>>,
    /// Seq by id.
    pub acked: HashMap<String, u64>,
    pub refused: HashSet<String>,
    /// Each client's lines in the order in which they were shown.
    pub shown: Vec<Vec<ShownMessage>>,
    /// The final history.
    pub stored: Vec<ShownMessage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Acknowledged, and not in the history under that seq.
    Lost(String),
    /// Shown twice by a client, or stored twice.
    Duplicated(String),
    /// A client showed it after a later one.
    Reordered(u64),
    /// A client showed another line under this seq than is stored.
    Diverging(u64),
    /// A client never showed it, or the history has a hole.
    Gapped(u64),
    /// Nobody sent it.
    Phantom(String),
    /// Stored before a line that its writer had typed before it.
    OutOfTurn(String),
    /// It was refused, and is there all the same.
    ShownAfterRefusal(String),
}

/// Everything that is wrong.
pub fn check(run: &Run) -> Vec<Fault> {
    let mut faults = Vec::new();
    let by_seq: HashMap<u64, &ShownMessage> =
        run.stored.iter().map(|line| (line.seq, line)).collect();
    for (index, line) in run.stored.iter().enumerate() {
        if line.seq != index as u64 + 1 {
            faults.push(Fault::Gapped(index as u64 + 1));
            break;
        }
    }
    for (id, seq) in &run.acked {
        if by_seq.get(seq).is_none_or(|line| line.id != *id) {
            faults.push(Fault::Lost(id.clone()));
        }
    }
    let by_id: HashMap<&String, u64> = run.stored.iter().map(|one| (&one.id, one.seq)).collect();
    for turns in &run.turns {
        let mut last = 0;
        for (id, seq) in turns.iter().filter_map(|id| Some((id, *by_id.get(id)?))) {
            if seq < last {
                faults.push(Fault::OutOfTurn(id.clone()));
            }
            last = last.max(seq);
        }
    }
    let stored = std::iter::once(&run.stored);
    for lines in stored.chain(&run.shown) {
        let (mut seen, mut last) = (HashSet::new(), 0);
        for line in lines {
            if !seen.insert(&line.id) {
                faults.push(Fault::Duplicated(line.id.clone()));
            } else if line.seq <= last {
                faults.push(Fault::Reordered(line.seq));
            }
            last = last.max(line.seq);
            if run.sent.get(&line.id) != Some(&line.text) {
                faults.push(Fault::Phantom(line.id.clone()));
            } else if run.refused.contains(&line.id) {
                faults.push(Fault::ShownAfterRefusal(line.id.clone()));
            }
            if by_seq.get(&line.seq).is_none_or(|stored| *stored != line) {
                faults.push(Fault::Diverging(line.seq));
            }
        }
        let seqs: HashSet<u64> = lines.iter().map(|line| line.seq).collect();
        faults
            .extend(by_seq.keys().filter(|seq| !seqs.contains(seq)).map(|seq| Fault::Gapped(*seq)));
    }
    faults
}
