//! The size of a response. Lambda answers a synchronous invocation with at most 6,291,556 bytes,
//! and the body is a string in the answer's JSON, so that each of its quotes takes two bytes.

use serde::Serialize;
use store::PageRequest;

use crate::http::problem::{Problem, ProblemBody};

/// The largest list in a response, in bytes as Lambda counts them. An item that is larger is on a
/// page of its own.
const LIST_BYTES_MAX: usize = 4_000_000;

/// Returns the number of bytes that a value takes in a response.
fn response_bytes(value: &impl Serialize) -> usize {
    let json = serde_json::to_string(value).unwrap_or_default();
    let escaped = json.bytes().filter(|byte| matches!(byte, b'"' | b'\\'));
    json.len() + escaped.count()
}

/// Returns whether a text is short enough for a response.
pub(crate) fn fits(text: &str) -> bool {
    response_bytes(&text) <= LIST_BYTES_MAX
}

/// A page of a list: its items, and the cursor of the next page.
pub(crate) type ListPage<T> = (Vec<T>, Option<String>);

/// Reads a page of a list that fits into a response. Every list is read through this: a page that
/// would be too large is read again with fewer items, so that its cursor is right.
pub(crate) async fn page_that_fits<T, F>(
    mut request: PageRequest,
    read: impl Fn(PageRequest) -> F,
) -> Result<ListPage<T>, Problem>
where
    T: Serialize,
    F: Future<Output = Result<ListPage<T>, Problem>>,
{
    loop {
        let page = read(request.clone()).await?;
        let fitting = count_that_fits(&page.0);
        if fitting == page.0.len() || request.limit <= 1 {
            return Ok(page);
        }
        request.limit = u32::try_from(fitting)
            .unwrap_or(1)
            .clamp(1, request.limit - 1);
    }
}

fn count_that_fits<T: Serialize>(items: &[T]) -> usize {
    let mut bytes = 0;
    let within = |item: &&T| {
        bytes += response_bytes(*item);
        bytes <= LIST_BYTES_MAX
    };
    items.iter().take_while(within).count()
}

/// The room for the details of the results in a response to many requests at once. What is left out
/// can be read by itself.
#[derive(Debug)]
pub(crate) struct Room(usize);

impl Room {
    /// The room of an empty response.
    pub(crate) const fn new() -> Self {
        Self(LIST_BYTES_MAX)
    }

    /// Returns a detail, if there is room for it.
    pub(crate) fn keep<T: Serialize>(&mut self, detail: T) -> Option<T> {
        self.0 = self.0.checked_sub(response_bytes(&detail))?;
        Some(detail)
    }

    /// Returns a problem, without the current state where there is no room for it.
    pub(crate) fn keep_problem(&mut self, problem: Problem) -> ProblemBody {
        let body = problem.into_body();
        match self.0.checked_sub(response_bytes(&body)) {
            Some(rest) => {
                self.0 = rest;
                body
            }
            None => body.without_current(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Reads pages of a list of texts of these lengths; the cursor is a number.
    async fn read_all(lengths: &[usize], limit: u32) -> Vec<Vec<usize>> {
        let limits = Mutex::new(Vec::new());
        let mut cursor: Option<String> = None;
        let mut pages = Vec::new();
        loop {
            let request = PageRequest { limit, cursor };
            let page = page_that_fits(request, |request| {
                limits.lock().unwrap().push(request.limit);
                let from: usize = request.cursor.map_or(0, |text| text.parse().unwrap());
                let to = lengths.len().min(from + request.limit as usize);
                let items = lengths[from..to].iter().map(|length| "x".repeat(*length));
                let next = (to < lengths.len()).then(|| to.to_string());
                std::future::ready(Ok((items.collect::<Vec<_>>(), next)))
            });
            let (items, next) = page.await.unwrap();
            let bytes: usize = items.iter().map(response_bytes).sum();
            assert!(bytes <= LIST_BYTES_MAX || items.len() == 1, "{bytes}");
            pages.push(items.iter().map(String::len).collect());
            cursor = next;
            if cursor.is_none() {
                return pages;
            }
        }
    }

    #[tokio::test]
    async fn a_list_is_read_whole_in_pages_that_fit() {
        for (lengths, limit) in [
            (vec![1_000; 10_000], 1_000),
            (vec![300_000; 40], 1_000),
            (vec![1, 3_900_000, 200_000, 2_000_000, 2_100_000, 5], 100),
            (vec![5_000_000, 5_000_000, 1], 1_000),
            (vec![], 10),
        ] {
            let pages = read_all(&lengths, limit).await;
            assert_eq!(pages.concat(), lengths);
        }
        assert_eq!(read_all(&[300_000; 40], 1_000).await.len(), 4);
    }

    #[test]
    fn sizes_are_those_of_json_in_json() {
        assert_eq!(response_bytes(&"a\"b"), r#""\"a\\\"b\"""#.len() - 2);
        assert_eq!(response_bytes(&"\u{1}"), 1 + 1 + 7 + 1 + 1);
        assert_eq!(response_bytes(&"ü"), 1 + 1 + 2 + 1 + 1);
    }

    #[test]
    fn a_detail_without_room_is_left_out() {
        let mut room = Room::new();
        assert!(room.keep("x".repeat(3_000_000)).is_some());
        assert!(room.keep("x".repeat(1_500_000)).is_none());
        assert!(room.keep("x".repeat(900_000)).is_some());
    }
}
