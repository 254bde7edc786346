//! A change is seen twice, an entry moves while pages are read, two workers read one log.
