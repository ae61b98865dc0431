//! Declarations of tables.

/// Declares a table of the file: its keys, their types, and what the reference says of them.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident ($header:literal $(, $path:ident)?) {
            $( $(#[doc = $doc:literal])+ $field:ident $(as $key:literal)?: $type:ty, )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub(crate) struct $name {
            $(
                /// Where this table stands.
                pub(crate) $path: String,
            )?
            $( $(#[doc = $doc])+ pub(crate) $field: $crate::config::file::read::Field<$type>, )*
        }

        impl $crate::config::file::read::Section for $name {
            const HEADER: &'static str = $header;
            const ABOUT: &'static str = concat!($($about),+);

            fn keys() -> Vec<$crate::config::file::read::Key> {
                vec![ $( $crate::config::file::read::Key {
                    name: $crate::config::file::section::key_name!($field $($key)?),
                    form: <$type as $crate::config::file::read::Value>::form(),
                    about: concat!($($doc),+),
                }, )* ]
            }
        }

        impl $crate::config::file::read::Value for $name {
            fn form() -> String {
                concat!("a table (`", $header, "`)").to_owned()
            }

            fn read(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                path: &str,
                report: &mut $crate::config::report::Report<'_>,
            ) -> Option<Self> {
                use $crate::config::file::{read, section};
                let names = [ $( section::key_name!($field $($key)?), )* ];
                let table = read::table::<Self>(value, path, &names, report)?;
                Some(Self {
                    $( $path: path.to_owned(), )?
                    $( $field: read::field(table, path, section::key_name!($field $($key)?), report), )*
                })
            }
        }
    };
}

/// The key of a field: its own name, unless another was given.
macro_rules! key_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

pub(crate) use {key_name, section};
