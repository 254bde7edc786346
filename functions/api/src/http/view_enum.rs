//! Enums of the API that have the variants of an enum of the domain or the store.

/// Defines an enum of the API, and its conversions from and to the enum with the same variants.
macro_rules! view_enum {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $view:ident = $source:path {
            $($(#[$variant_attribute:meta])* $variant:ident),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visibility enum $view {
            $($(#[$variant_attribute])* $variant),+
        }

        impl From<$source> for $view {
            fn from(source: $source) -> Self {
                match source {
                    $(<$source>::$variant => Self::$variant,)+
                }
            }
        }

        impl From<$view> for $source {
            fn from(view: $view) -> Self {
                match view {
                    $($view::$variant => Self::$variant,)+
                }
            }
        }
    };
}
pub(crate) use view_enum;
