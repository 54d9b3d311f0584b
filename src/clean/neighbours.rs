//! The nearest characters of a kind before and behind each character of a line, found in two
//! passes: a search from each character would take quadratic time.

pub struct Neighbours {
    before: Vec<Option<char>>,
    behind: Vec<Option<char>>,
}

impl Neighbours {
    pub fn of(line: &[char], counts: impl Fn(char) -> bool) -> Neighbours {
        let nearest = |chars: &mut dyn Iterator<Item = &char>| -> Vec<Option<char>> {
            let mut last = None;
            let step = |c: &char| {
                let nearest = last;
                last = counts(*c).then_some(*c).or(last);
                nearest
            };
            chars.map(step).collect()
        };
        let before = nearest(&mut line.iter());
        let mut behind = nearest(&mut line.iter().rev());
        behind.reverse();
        Neighbours { before, behind }
    }

    /// The nearest characters on both sides of an index, if both sides have one.
    pub fn both(&self, at: usize) -> Option<(char, char)> {
        self.before[at].zip(self.behind[at])
    }

    /// The nearest characters on both sides of an index.
    pub fn any(&self, at: usize) -> impl Iterator<Item = char> {
        self.before[at].into_iter().chain(self.behind[at])
    }
}
