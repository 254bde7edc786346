//! Texts that are dear to compare.

use std::time::{Duration, Instant};

use super::over_http::{contents, upload_ok};

#[test]
fn regression_two_large_texts_without_a_common_line_are_compared_at_once() {
    contents(async |world| {
        let file = world.take();
        let megabyte = |line: &str| line.repeat(1024 * 1024 / line.len()).into_bytes();
        let from = upload_ok(world, &file, &megabyte("a\n")).await;
        let to = upload_ok(world, &file, &megabyte("b\n")).await;
        let path = format!("/files/{file}/versions/compare?from={from}&to={to}");
        let began = Instant::now();
        let compared = world.get(&path).await;
        let took = began.elapsed();
        assert_eq!(compared["no_diff"], "they are too different", "{compared}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}
