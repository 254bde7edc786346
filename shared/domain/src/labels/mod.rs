//! The names of the values of an enum, in items and at the API.

/// Gives each value of an enum its name, and reads it back. A value without a name does not
/// compile.
macro_rules! labels {
    ($kind:ident { $($value:ident = $label:literal,)+ }) => {
        impl $kind {
            /// Returns its name in items and at the API.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$value => $label,)+
                }
            }

            /// Parses a name that `label` returns.
            #[must_use]
            pub fn from_label(text: &str) -> Option<Self> {
                match text {
                    $($label => Some(Self::$value),)+
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use labels;
