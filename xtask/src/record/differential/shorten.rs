//! The shortest scenario that still shows a difference.

use std::fmt;

use lvs_sim::compare::Difference;
use lvs_sim::random::RandomScenario;

use super::{Arena, Compared, SHORTEN};
use crate::record::Failure;

/// The most boots for it.
const ROUNDS: usize = 10;
/// How many scenarios are shortened; the others are shown as they are.
const AT_ONCE: usize = 4;

/// A scenario that differs, as short as it became.
#[derive(Clone, Debug)]
pub(super) struct Found {
    scenario: RandomScenario,
    difference: Difference,
    stage: Stage,
}

/// What is tried next.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// To leave out what follows the difference, and large parts.
    Parts,
    /// To leave out each line.
    Lines,
    /// To leave out, together, lines of which each alone could be left out.
    Together(Vec<usize>),
    Done,
}

impl Found {
    pub(super) fn new(scenario: RandomScenario, difference: Difference) -> Found {
        Found { scenario, difference, stage: Stage::Parts }
    }

    /// Sets of lines to leave out, or nothing where ranges of packets are to be left out, with what is
    /// left then. None of them is empty of lines.
    fn attempts(&self) -> Vec<(Vec<usize>, RandomScenario)> {
        let len = self.scenario.len();
        let mut sets: Vec<Vec<usize>> = Vec::new();
        match &self.stage {
            Stage::Parts => {
                let end = self.scenario.up_to(&self.difference.event);
                let end = end.map_or(len, |shorter| shorter.len());
                sets.push((end..len).collect());
                for part in [2, 4] {
                    let size = end.div_ceil(part).max(1);
                    sets.extend(
                        (0..end)
                            .step_by(size)
                            .map(|from| (from..end.min(from + size)).chain(end..len).collect()),
                    );
                }
            }
            Stage::Lines => sets.extend((0..len).map(|at| vec![at])),
            Stage::Together(lines) => {
                for part in [1, 2, 3, 4, 6, 8, lines.len()] {
                    let size = lines.len().div_ceil(part).max(1);
                    for chunk in lines.chunks(size) {
                        sets.push(chunk.to_vec());
                        sets.push(lines.iter().filter(|at| !chunk.contains(at)).copied().collect());
                    }
                }
            }
            Stage::Done => return Vec::new(),
        }
        sets.retain(|set| !set.is_empty());
        sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
        sets.dedup();
        let mut tries: Vec<_> = sets
            .into_iter()
            .filter_map(|set| Some((set.clone(), self.scenario.without(|at| set.contains(&at))?)))
            .collect();
        if self.stage == Stage::Lines {
            tries.extend(self.scenario.without_ranges().map(|simpler| (Vec::new(), simpler)));
        }
        tries
    }

    /// Goes on with the shortest of the attempts that differ.
    fn go_on(&mut self, differing: Vec<(Vec<usize>, RandomScenario, Difference)>) {
        let mut alone: Vec<usize> = differing.iter().flat_map(|(set, ..)| set.clone()).collect();
        alone.sort_unstable();
        let best = differing.into_iter().min_by_key(|(_, scenario, _)| scenario.len());
        self.stage = match (&self.stage, &best) {
            (Stage::Parts, Some(_)) => Stage::Parts,
            (Stage::Lines, Some(_)) if alone.len() > 1 => {
                self.stage = Stage::Together(alone);
                return;
            }
            (Stage::Lines, None) => Stage::Done,
            _ => Stage::Lines,
        };
        if let Some((_, scenario, difference)) = best {
            (self.scenario, self.difference) = (scenario, difference);
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { scenario, difference, .. } = self;
        write!(f, "{}: {difference}\n\n{}", scenario.name(), scenario.text())
    }
}

/// Takes lines out of scenarios as long as they show a difference. The attempts of a round, of all of the
/// scenarios, share a boot.
pub(super) fn shorten(arena: &Arena, found: &mut [Found]) -> Result<(), Failure> {
    shorten_with(found, |tries| arena.play(tries, SHORTEN))
}

/// The same, with what plays scenarios.
fn shorten_with(
    found: &mut [Found],
    mut play: impl FnMut(&[RandomScenario]) -> Result<Vec<Compared>, Failure>,
) -> Result<(), Failure> {
    for _ in 0..ROUNDS {
        let mut tries = Vec::new();
        let mut owners = Vec::new();
        for (owner, found) in found.iter_mut().take(AT_ONCE).enumerate() {
            let mut attempts = found.attempts();
            if attempts.is_empty() && found.stage == Stage::Parts {
                found.stage = Stage::Lines;
                attempts = found.attempts();
            }
            for (set, scenario) in attempts {
                owners.push((owner, set));
                tries.push(scenario);
            }
        }
        if tries.is_empty() {
            break;
        }
        let results = play(&tries)?;
        let mut differing = vec![Vec::new(); found.len()];
        for (((owner, set), scenario), result) in owners.into_iter().zip(tries).zip(results) {
            if let Compared::Different(difference) = result {
                differing[owner].push((set, scenario, difference));
            }
        }
        for (found, differing) in found.iter_mut().take(AT_ONCE).zip(differing) {
            found.go_on(differing);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands for a kernel that differs where a scenario has a line with one word and, before it, one
    /// with the other.
    fn differs(scenario: &RandomScenario, words: [&str; 2]) -> Compared {
        let text = scenario.text();
        let lines: Vec<_> = text.lines().collect();
        let first = lines.iter().position(|line| line.contains(words[0]));
        let last = lines.iter().rposition(|line| line.contains(words[1]));
        match (first, last) {
            (Some(first), Some(last)) if first < last => {
                Compared::Different(Difference { event: lines[last].to_owned(), lines: Vec::new() })
            }
            _ => Compared::Same,
        }
    }

    #[test]
    fn a_difference_that_needs_two_lines_is_shown_by_two_lines() {
        let words = ["ipvsadm -a", "tcp"];
        let scenarios = (1..200).map(RandomScenario::new);
        let (scenario, difference) = scenarios
            .filter(|scenario| scenario.len() > 20)
            .find_map(|scenario| match differs(&scenario, words) {
                Compared::Different(difference) => Some((scenario, difference)),
                _ => None,
            })
            .unwrap();
        let mut found = [Found::new(scenario, difference)];
        let mut boots = 0;
        let play = |tries: &[RandomScenario]| {
            boots += 1;
            Ok(tries.iter().map(|scenario| differs(scenario, words)).collect())
        };
        shorten_with(&mut found, play).unwrap();
        let text = found[0].scenario.text();
        assert_eq!(found[0].scenario.len(), 2, "{text}");
        assert!(boots <= ROUNDS);
        assert!(found[0].to_string().contains(&text));
    }
}
