//! The division of content into parts.

use std::ops::Range;

/// The smallest size of each part but the last: 5 MiB ("Amazon S3 multipart upload limits").
pub const PART_BYTES_MIN: u64 = 5 * MIB;
/// The most parts of an upload: 10,000, S3's limit.
pub const PARTS_MAX: u32 = 10_000;
/// The largest content: 5 TB, Drive's limit for a file.
pub const OBJECT_BYTES_MAX: u64 = 5 * 1024 * 1024 * MIB;

const MIB: u64 = 1024 * 1024;
/// The default size of a part: few requests ($0.0006 for 1 GB), and several parts in memory stay
/// far below 64 MB.
const DEFAULT_PART_BYTES: u64 = 8 * MIB;

/// The content is too large to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("content of {size_bytes} bytes exceeds the limit of {OBJECT_BYTES_MAX}")]
pub struct TooLarge {
    /// The size in bytes.
    pub size_bytes: u64,
}

/// The division of content of a known size into parts, which have all the same size but the last.
///
/// Parts have 8 MiB up to 83.8 GB (10,000 such parts), and above that the least number of whole MiB
/// that 10,000 parts need: 33 MB for 335 GB, 525 MiB for Drive's largest file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartPlan {
    size_bytes: u64,
    part_bytes: u64,
}

impl PartPlan {
    /// The plan for content of a known size.
    ///
    /// # Errors
    /// [`TooLarge`]
    pub fn new(size_bytes: u64) -> Result<Self, TooLarge> {
        if size_bytes > OBJECT_BYTES_MAX {
            return Err(TooLarge { size_bytes });
        }
        let least = size_bytes.div_ceil(u64::from(PARTS_MAX));
        Ok(Self {
            size_bytes,
            part_bytes: DEFAULT_PART_BYTES.max(least.next_multiple_of(MIB)),
        })
    }

    /// The plan for content whose size is not known in advance, such as an export: parts of 8 MiB,
    /// of which there are at most `count`.
    #[must_use]
    pub fn for_unknown_size() -> Self {
        Self {
            size_bytes: DEFAULT_PART_BYTES * u64::from(PARTS_MAX),
            part_bytes: DEFAULT_PART_BYTES,
        }
    }

    /// The plan of a started upload with a given part size.
    ///
    /// # Errors
    /// [`TooLarge`] if 10,000 such parts are not enough.
    pub fn resume(size_bytes: u64, part_bytes: u64) -> Result<Self, TooLarge> {
        let part_bytes = part_bytes.max(PART_BYTES_MIN);
        if size_bytes.div_ceil(part_bytes) > u64::from(PARTS_MAX) {
            return Err(TooLarge { size_bytes });
        }
        Ok(Self {
            size_bytes,
            part_bytes,
        })
    }

    /// Returns the size of the content.
    #[must_use]
    pub fn size_bytes(self) -> u64 {
        self.size_bytes
    }

    /// Returns the size of every part but the last.
    #[must_use]
    pub fn part_bytes(self) -> u64 {
        self.part_bytes
    }

    /// Returns the number of parts: at least one, since an upload without parts can't be completed.
    #[must_use]
    pub fn count(self) -> u32 {
        let count = self.size_bytes.div_ceil(self.part_bytes).max(1);
        u32::try_from(count).unwrap_or(PARTS_MAX)
    }

    /// Returns the range of a part in the content; `None` if there is no such part. Numbers start
    /// at 1.
    #[must_use]
    pub fn range(self, number: u32) -> Option<Range<u64>> {
        if number == 0 || number > self.count() {
            return None;
        }
        let begin = u64::from(number - 1) * self.part_bytes;
        let end = begin.saturating_add(self.part_bytes).min(self.size_bytes);
        Some(begin..end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_have_eight_mebibytes_unless_ten_thousand_are_not_enough() {
        let usual = DEFAULT_PART_BYTES * u64::from(PARTS_MAX);
        for size in [0, 1, PART_BYTES_MIN, usual] {
            assert_eq!(
                PartPlan::new(size).unwrap().part_bytes(),
                DEFAULT_PART_BYTES
            );
        }
        let above = PartPlan::new(usual + 1).unwrap();
        assert_eq!((above.part_bytes(), above.count()), (9 * MIB, 8_889));
        let largest = PartPlan::new(OBJECT_BYTES_MAX).unwrap();
        assert_eq!(largest.part_bytes(), 525 * MIB);
        let size_bytes = OBJECT_BYTES_MAX + 1;
        assert_eq!(PartPlan::new(size_bytes), Err(TooLarge { size_bytes }));
        assert_eq!(PartPlan::for_unknown_size().count(), PARTS_MAX);
    }

    #[test]
    fn empty_content_has_one_empty_part() {
        let plan = PartPlan::new(0).unwrap();
        assert_eq!((plan.count(), plan.range(1)), (1, Some(0..0)));
        assert_eq!((plan.range(0), plan.range(2)), (None, None));
    }

    #[test]
    fn a_resumed_plan_has_the_parts_of_the_original() {
        let original = PartPlan::for_unknown_size();
        let resumed = PartPlan::resume(100 * MIB, original.part_bytes()).unwrap();
        assert_eq!(resumed.count(), 13);
        assert!(PartPlan::resume(OBJECT_BYTES_MAX, DEFAULT_PART_BYTES).is_err());
        assert_eq!(PartPlan::resume(1, 0).unwrap().part_bytes(), PART_BYTES_MIN);
    }

    proptest! {
        #[test]
        fn the_parts_cover_the_content_and_are_valid_in_s3(size in 0..=OBJECT_BYTES_MAX) {
            let plan = PartPlan::new(size).unwrap();
            prop_assert!(plan.count() <= PARTS_MAX);
            let mut end = 0;
            for number in 1..=plan.count() {
                let range = plan.range(number).unwrap();
                prop_assert_eq!(range.start, end);
                prop_assert!(range.end > range.start || size == 0);
                prop_assert!(number == plan.count() || range.end - range.start >= PART_BYTES_MIN);
                end = range.end;
            }
            prop_assert_eq!(end, size);
            prop_assert_eq!(PartPlan::resume(size, plan.part_bytes()), Ok(plan));
        }
    }
}
