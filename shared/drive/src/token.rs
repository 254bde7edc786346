pub(crate) struct TokenSource;
