//! Shared drives have logs of their own, and repeat some of it in the user's.
