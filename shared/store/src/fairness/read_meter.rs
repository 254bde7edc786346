//! What one request reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Store;

/// Counts what is read through a [`Store`] and its clones: the items of queries and of reads of
/// many items at once, and what else a caller adds.
#[derive(Debug, Clone, Default)]
pub struct ReadMeter(Arc<AtomicU32>);

impl ReadMeter {
    /// Returns the count so far.
    #[must_use]
    pub fn read(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds to the count.
    pub fn add(&self, read: u64) {
        let read = u32::try_from(read).unwrap_or(u32::MAX);
        // The closure always returns a value, so this never fails.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| {
                Some(sum.saturating_add(read))
            });
    }
}

impl Store {
    /// Returns the same table, whose reads are counted.
    #[must_use]
    pub fn metered(&self, meter: &ReadMeter) -> Self {
        Self {
            meter: Some(meter.clone()),
            ..self.clone()
        }
    }

    /// Returns what was read so far; 0 if reads are not counted.
    #[must_use]
    pub fn read_count(&self) -> u32 {
        self.meter.as_ref().map_or(0, ReadMeter::read)
    }

    /// Counts what was read besides the items of this table, if its reads are counted.
    pub fn count_read(&self, read: u64) {
        if let Some(meter) = &self.meter {
            meter.add(read);
        }
    }
}
