//! Hostile input at every door: bytes, JSON, and real inputs that were mutated. Whatever comes in is taken, refused or set
//! aside, and nothing panics.

mod api;
mod cursors;
mod drive_json;
mod messages;
mod mutation;
mod notifications;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// A runner of so many cases, the same in every run, which prints the least input that fails. `FUZZ=20` plays twenty times
/// as many, drawn anew.
fn runner(cases: u32) -> TestRunner {
    let times = asked();
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
    reason = "what whoever runs the tests asks for is no setting of a function"
)]
fn asked() -> Option<u32> {
    std::env::var("FUZZ").ok()?.parse().ok()
}
