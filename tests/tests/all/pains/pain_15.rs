//! Permissions are inherited without an entry for who inherits them.
