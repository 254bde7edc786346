//! Hostile input at every entry point: bytes, JSON, and mutated real inputs. Everything is
//! processed, rejected or set aside, and nothing panics.

mod api;
mod cursors;
mod drive_json;
mod messages;
mod mutation;
mod notifications;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Returns a runner of this many cases, the same in every run, which prints the smallest input that
/// fails. `FUZZ=20` runs twenty times as many, drawn anew.
fn runner(cases: u32) -> TestRunner {
    let times = option();
    let config = Config {
        cases: cases * times.unwrap_or(1),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    match times {
        Some(_) => TestRunner::new(config),
        None => {
            let algorithm = RngAlgorithm::ChaCha;
            TestRunner::new_with_rng(config, TestRng::deterministic_rng(algorithm))
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an option of a test run is no setting of a function"
)]
fn option() -> Option<u32> {
    std::env::var("FUZZ").ok()?.parse().ok()
}
