//! The one table of what we read of a file, and its names in Drive v3 and v2.
/// One thing that we read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Our name.
    pub ours: &'static str,
    /// Its v3 name, as in a `fields` mask.
    pub v3: &'static str,
    /// Its v2 name, as in a `fields` mask.
    pub v2: &'static str,
}
/// The table.
pub const TABLE: [Column; 0] = [];
