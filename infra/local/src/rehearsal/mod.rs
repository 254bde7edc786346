//! A rehearsal of a team at work: people who edit in Drive, programs that edit over the API, what
//! both were promised, and the judge of what became of it. The soak kills `local` meanwhile, and
//! the drill restores its table.

pub mod actors;
pub mod drill;
pub mod judge;
pub mod losses;
pub mod process;
pub mod stage;
