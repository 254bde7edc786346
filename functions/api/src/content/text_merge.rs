//! Texts line by line: compared and merged in bounded time and memory, whatever they are.
//!
//! The comparison of `diffy` takes time in proportion to the lines times the lines that differ.
//! So both are bounded before it is begun, by a search for the shortest edit script (Myers, "An
//! O(ND) difference algorithm", 1986) that ends at a fixed number of steps, once from each end.

use std::collections::HashMap;

use crate::http::{Kind, Problem};

/// The most lines that are compared after those that both texts begin and end with.
const LINES_MAX: usize = 200_000;
/// The most lines that may be deleted and inserted.
const EDITS_MAX: usize = 5_000;
/// The most lines times edits: half a second of one core.
const WORK_MAX: usize = 400_000_000;
/// The most steps of the search that decides whether two texts are near.
const STEPS_MAX: usize = 10_000_000;

/// The outcome of a merge.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    /// The text with the changes of both sides.
    Clean(String),
    /// The number of places where both sides have changed the same lines.
    Clashes(usize),
    /// The sides differ in too many lines from what they had in common.
    TooDifferent,
}

/// Returns the unified diff of two texts; `None` if they differ in too many lines.
///
/// # Errors
/// 500 if the comparison ends without a result.
pub(crate) async fn diff(from: String, to: String) -> Result<Option<String>, Problem> {
    apart(move || are_near(&from, &to).then(|| diffy::create_patch(&from, &to).to_string())).await
}

/// Merges what two sides made of `base`.
///
/// # Errors
/// 500 if the merge ends without a result.
pub(crate) async fn merge(base: String, app: String, drive: String) -> Result<Merged, Problem> {
    apart(move || {
        if !are_near(&base, &app) || !are_near(&base, &drive) {
            return Merged::TooDifferent;
        }
        match diffy::merge(&base, &app, &drive) {
            Ok(merged) => Merged::Clean(merged),
            Err(marked) => {
                let marks = marked.lines().filter(|line| line.starts_with("<<<<<<<"));
                Merged::Clashes(marks.count())
            }
        }
    })
    .await
}

/// Runs what computes for long beside the thread that answers other requests.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        let error = runtime::telemetry::chain(&error);
        tracing::error!(error, "a comparison of texts ended without a result");
        Problem::new(Kind::Internal, "the texts can't be compared")
    })
}

/// Returns whether two texts differ in so few lines that comparing them is quick.
fn are_near(from: &str, to: &str) -> bool {
    let (from, to) = without_common_ends(from, to);
    let lines = |text: &str| text.split_inclusive('\n').count();
    let (before, after) = (lines(from), lines(to));
    // Where one of them is empty, there is nothing to search.
    if before.min(after) == 0 {
        return true;
    }
    if before.max(after) > LINES_MAX {
        return false;
    }
    let mut numbers = HashMap::new();
    let mut from = numbered(from, &mut numbers);
    let mut to = numbered(to, &mut numbers);
    let edits_max = EDITS_MAX.min(WORK_MAX / (before + after));
    let forwards = edits_within(&from, &to, edits_max);
    from.reverse();
    to.reverse();
    forwards && edits_within(&from, &to, edits_max)
}

/// Returns what is between the lines that both texts begin with and those that both end with.
fn without_common_ends<'t>(from: &'t str, to: &'t str) -> (&'t str, &'t str) {
    let common = |pairs: &mut dyn Iterator<Item = (&str, &str)>| -> usize {
        let equal = pairs.take_while(|(a, b)| a == b);
        equal.map(|(line, _)| line.len()).sum()
    };
    let lines = |text: &'t str| text.split_inclusive('\n');
    let start = common(&mut lines(from).zip(lines(to)));
    let from = from.get(start..).unwrap_or_default();
    let to = to.get(start..).unwrap_or_default();
    let end = common(&mut lines(from).rev().zip(lines(to).rev()));
    let middle = |text: &'t str| text.get(..text.len() - end).unwrap_or_default();
    (middle(from), middle(to))
}

/// Returns a number for each line, the same for equal lines.
fn numbered<'t>(text: &'t str, numbers: &mut HashMap<&'t str, usize>) -> Vec<usize> {
    let number = |line| {
        let next = numbers.len();
        *numbers.entry(line).or_insert(next)
    };
    text.split_inclusive('\n').map(number).collect()
}

/// Returns whether at most this many deletions and insertions lead from one list to the other, and
/// a bounded number of steps finds them.
fn edits_within(from: &[usize], to: &[usize], edits_max: usize) -> bool {
    let edits_max = edits_max.min(from.len() + to.len());
    // The place of the diagonal on which as many are deleted as inserted.
    let middle = edits_max + 1;
    // How far into `from` each diagonal was followed.
    let mut reached = vec![0_usize; 2 * middle + 1];
    let at = |reached: &[usize], diagonal: usize| reached.get(diagonal).copied().unwrap_or(0);
    let mut steps = 0;
    for edits in 0..=edits_max {
        let (lowest, highest) = (middle - edits, middle + edits);
        for diagonal in (lowest..=highest).step_by(2) {
            let inserted = at(&reached, diagonal + 1);
            let deleted = at(&reached, diagonal - 1) + 1;
            let inserts = diagonal == lowest || (diagonal != highest && deleted <= inserted);
            let mut x = match (edits, inserts) {
                (0, _) => 0,
                (_, true) => inserted,
                (_, false) => deleted,
            };
            let equal = |x: usize| {
                let there = to.get((x + middle).wrapping_sub(diagonal));
                there.is_some() && from.get(x) == there
            };
            while equal(x) {
                x += 1;
                steps += 1;
            }
            if let Some(reached) = reached.get_mut(diagonal) {
                *reached = x;
            }
            steps += 1;
            if x >= from.len() && x + middle >= to.len() + diagonal {
                return true;
            }
            if steps > STEPS_MAX {
                return false;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// The length of the shortest edit script, by the table of all pairs of prefixes.
    fn edits(from: &[usize], to: &[usize]) -> usize {
        let mut row: Vec<usize> = (0..=to.len()).collect();
        for (i, a) in from.iter().enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for (j, b) in to.iter().enumerate() {
                let above = row[j + 1];
                let best = above.min(row[j]) + 1;
                row[j + 1] = if a == b { diagonal } else { best };
                diagonal = above;
            }
        }
        row[to.len()]
    }

    #[test]
    fn the_search_ends_at_the_length_of_the_shortest_edit_script() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let symbols = random.usize(1..4);
            let list = |random: &mut fastrand::Rng| -> Vec<usize> {
                let length = random.usize(0..12);
                std::iter::repeat_with(|| random.usize(0..symbols))
                    .take(length)
                    .collect()
            };
            let (from, to) = (list(&mut random), list(&mut random));
            let least = edits(&from, &to);
            for edits_max in 0..24 {
                let within = edits_within(&from, &to, edits_max);
                assert_eq!(within, least <= edits_max, "{from:?} {to:?} {edits_max}");
            }
        }
    }

    #[test]
    fn the_lines_at_both_ends_are_left_out() {
        for (from, to, middle) in [
            ("a\nb\nc\n", "a\nx\nc\n", ("b\n", "x\n")),
            ("a\na\n", "a\na\na\n", ("", "a\n")),
            ("a\n", "a", ("a\n", "a")),
            ("", "a", ("", "a")),
            ("same\n", "same\n", ("", "")),
            ("é\nü", "é\nö", ("ü", "ö")),
        ] {
            assert_eq!(without_common_ends(from, to), middle, "{from:?} {to:?}");
        }
    }

    /// Texts of up to a mebibyte that are dear to compare, with their names.
    fn hostile() -> Vec<(&'static str, String, String)> {
        const BYTES: usize = 1024 * 1024;
        let mut random = fastrand::Rng::with_seed(11);
        let mut drawn = |symbols: u32, lines: usize| -> String {
            let line = |_| format!("{}\n", random.u32(0..symbols));
            (0..lines).map(line).collect()
        };
        let numbered =
            |from: usize| -> String { (from..from + 90_000).map(|n| format!("{n}\n")).collect() };
        let ends = |start: &str| format!("{start}{}", "a\n".repeat(BYTES / 2 - 4_000));
        vec![
            (
                "no line in common",
                "a\n".repeat(BYTES / 2),
                "b\n".repeat(BYTES / 2),
            ),
            ("distinct lines", numbered(0), numbered(200_000)),
            ("two symbols", drawn(2, BYTES / 4), drawn(2, BYTES / 4)),
            ("a hundred symbols", drawn(100, 90_000), drawn(100, 90_000)),
            (
                "one long run",
                "a\n".repeat(BYTES / 2),
                format!("b\n{}", "a\n".repeat(BYTES / 4)),
            ),
            (
                "alternating",
                "a\nb\n".repeat(BYTES / 4),
                "b\na\na\n".repeat(BYTES / 6),
            ),
            (
                "empty lines",
                "\n".repeat(BYTES),
                format!("x{}", "\n".repeat(BYTES / 2)),
            ),
            ("one empty", String::new(), "a\n".repeat(BYTES / 2)),
            (
                "unequal starts",
                ends(&drawn(2, 2_000)),
                ends(&drawn(2, 1_900)),
            ),
            ("a moved half", numbered(0), {
                let (first, second) = (numbered(0), numbered(45_000));
                format!("{}{}", second, first.get(..300_000).unwrap_or_default())
            }),
        ]
    }

    #[tokio::test]
    async fn regression_any_two_texts_are_compared_or_refused_within_seconds() {
        for (name, from, to) in hostile() {
            let began = Instant::now();
            let patch = diff(from.clone(), to.clone()).await.unwrap();
            let merged = merge(from.clone(), to.clone(), to.clone()).await.unwrap();
            let took = began.elapsed();
            assert!(took < Duration::from_secs(8), "{name}: {took:?}");
            match merged {
                Merged::Clean(text) => assert_eq!(text, to, "{name}"),
                Merged::TooDifferent => assert_eq!(patch, None, "{name}"),
                Merged::Clashes(_) => panic!("{name}: both sides are equal"),
            }
        }
    }

    #[tokio::test]
    async fn near_texts_are_compared_and_merged() {
        let lines = |changed: usize| -> String {
            let line = |n: usize| match n {
                n if n % 37 == changed => format!("changed {n}\n"),
                n => format!("line {n} of a text of ordinary length\n"),
            };
            (0..20_000).map(line).collect()
        };
        let base = lines(99);
        let patch = diff(base.clone(), lines(3)).await.unwrap().unwrap();
        assert!(patch.starts_with("--- original\n+++ modified\n@@ -1,7 +1,7 @@\n"));
        let both = merge(base.clone(), lines(3), lines(20)).await.unwrap();
        let Merged::Clean(both) = both else {
            panic!("{both:?}")
        };
        assert!(both.contains("changed 3\n") && both.contains("changed 20\n"));
        let clash = merge("a\n".into(), "b\n".into(), "c\n".into()).await;
        assert_eq!(clash.unwrap(), Merged::Clashes(1));
    }
}
