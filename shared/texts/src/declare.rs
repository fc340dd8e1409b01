/// Declares the texts of a subject. `opened(at, channel);` of the subject `notes` makes a function that returns the
/// text `notes_opened` with the arguments `at` and `channel`, and lists it in `KEYS` for the tests.
macro_rules! texts {
    ($subject:literal: $($name:ident($($arg:ident),*);)*) => {
        $(
            #[doc = concat!("The text `", $subject, "_", stringify!($name), "`.")]
            pub fn $name($($arg: impl Into<$crate::Arg>),*) -> $crate::Text {
                $crate::Text::new(
                    concat!($subject, "_", stringify!($name)),
                    vec![$((stringify!($arg), $arg.into())),*],
                )
            }
        )*

        pub(crate) const KEYS: &[(&str, &[&str])] =
            &[$((concat!($subject, "_", stringify!($name)), &[$(stringify!($arg)),*])),*];
    };
}
