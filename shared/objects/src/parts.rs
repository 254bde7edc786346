//! How content is cut into parts.

use std::ops::Range;

/// S3's limit: 5 MiB for each part but the last ("Amazon S3 multipart upload limits").
pub const PART_BYTES_MIN: u64 = 5 * MIB;
/// S3's limit: 10,000 parts in an upload.
pub const PARTS_MAX: u32 = 10_000;
/// The largest content that there can be: Drive's limit of a file, 5 TB.
pub const OBJECT_BYTES_MAX: u64 = 5 * 1024 * 1024 * MIB;

const MIB: u64 = 1024 * 1024;
/// The usual part: few enough calls ($0.0006 for 1 GB), small enough that some at once stay far below 64 MB.
const USUAL: u64 = 8 * MIB;

/// The content is larger than any that can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{size_bytes} bytes are more than the {OBJECT_BYTES_MAX} that can be stored")]
pub struct TooLarge {
    /// Its size.
    pub size_bytes: u64,
}

/// Content of a known size, cut into parts: all of one size, but for the last.
///
/// A part is 8 MiB up to 83.8 GB (10,000 such parts), above that the least number of whole MiB that 10,000 parts need: 33 MB
/// for 335 GB, 525 MiB for Drive's largest file. Who holds a part at a time holds so much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartPlan {
    size_bytes: u64,
    part_bytes: u64,
}

impl PartPlan {
    /// The plan for content of this size.
    ///
    /// # Errors
    /// [`TooLarge`]
    pub fn of(size_bytes: u64) -> Result<Self, TooLarge> {
        if size_bytes > OBJECT_BYTES_MAX {
            return Err(TooLarge { size_bytes });
        }
        let least = size_bytes.div_ceil(u64::from(PARTS_MAX));
        Ok(Self {
            size_bytes,
            part_bytes: USUAL.max(least.next_multiple_of(MIB)),
        })
    }

    /// The plan for content whose size nobody tells beforehand, as an export: parts of 8 MiB, of which `count` is the most.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            size_bytes: USUAL * u64::from(PARTS_MAX),
            part_bytes: USUAL,
        }
    }

    /// The plan that was begun with this part size, for content of this size.
    ///
    /// # Errors
    /// [`TooLarge`], where 10,000 such parts do not hold it.
    pub fn resumed(size_bytes: u64, part_bytes: u64) -> Result<Self, TooLarge> {
        let part_bytes = part_bytes.max(PART_BYTES_MIN);
        if size_bytes.div_ceil(part_bytes) > u64::from(PARTS_MAX) {
            return Err(TooLarge { size_bytes });
        }
        Ok(Self {
            size_bytes,
            part_bytes,
        })
    }

    /// The size of the content.
    #[must_use]
    pub fn size_bytes(self) -> u64 {
        self.size_bytes
    }

    /// The size of every part but the last.
    #[must_use]
    pub fn part_bytes(self) -> u64 {
        self.part_bytes
    }

    /// How many parts there are: one at least, since an upload without parts can't be completed.
    #[must_use]
    pub fn count(self) -> u32 {
        let count = self.size_bytes.div_ceil(self.part_bytes).max(1);
        u32::try_from(count).unwrap_or(PARTS_MAX)
    }

    /// Which bytes of the content a part holds; `None` where there is no part of this number. They are numbered from 1.
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
    fn parts_are_eight_mebibytes_until_ten_thousand_do_not_suffice() {
        let usual = USUAL * u64::from(PARTS_MAX);
        for size in [0, 1, PART_BYTES_MIN, usual] {
            assert_eq!(PartPlan::of(size).unwrap().part_bytes(), USUAL);
        }
        let above = PartPlan::of(usual + 1).unwrap();
        assert_eq!((above.part_bytes(), above.count()), (9 * MIB, 8_889));
        let largest = PartPlan::of(OBJECT_BYTES_MAX).unwrap();
        assert_eq!(largest.part_bytes(), 525 * MIB);
        let size_bytes = OBJECT_BYTES_MAX + 1;
        assert_eq!(PartPlan::of(size_bytes), Err(TooLarge { size_bytes }));
        assert_eq!(PartPlan::unknown().count(), PARTS_MAX);
    }

    #[test]
    fn content_without_bytes_is_one_empty_part() {
        let plan = PartPlan::of(0).unwrap();
        assert_eq!((plan.count(), plan.range(1)), (1, Some(0..0)));
        assert_eq!((plan.range(0), plan.range(2)), (None, None));
    }

    #[test]
    fn a_plan_is_resumed_with_its_own_parts_or_not_at_all() {
        let begun = PartPlan::unknown();
        let resumed = PartPlan::resumed(100 * MIB, begun.part_bytes()).unwrap();
        assert_eq!(resumed.count(), 13);
        assert!(PartPlan::resumed(OBJECT_BYTES_MAX, USUAL).is_err());
        assert_eq!(
            PartPlan::resumed(1, 0).unwrap().part_bytes(),
            PART_BYTES_MIN
        );
    }

    proptest! {
        #[test]
        fn the_parts_are_the_content_and_s3_takes_each(size in 0..=OBJECT_BYTES_MAX) {
            let plan = PartPlan::of(size).unwrap();
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
            prop_assert_eq!(PartPlan::resumed(size, plan.part_bytes()), Ok(plan));
        }
    }
}
