//! Tests of the whole system: see `tests/all`, one binary.
