//! Drive forgets the page token.
