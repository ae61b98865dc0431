//! Reading that does not stop at the first mistake.
//!
//! serde's derived readers end at the first unknown key or wrong type. A configuration is answered
//! with all its errors, so each table is read key by key here; the macro `section!` declares a
//! table once, and from that come its reader, its list of allowed keys, and its part of the
//! reference.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::unsupported;
use crate::config::report::{Report, did_you_mean, nearest_name};

/// The value of a key.
#[derive(Clone, Default, Debug)]
pub(crate) enum Field<T> {
    /// The key was not written.
    #[default]
    Absent,
    /// What was written is no such value; that has been reported.
    Wrong,
    /// A value.
    Given(T),
}

impl<T> Field<T> {
    pub(crate) fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value, or the default of this key.
    pub(crate) fn or(&self, default: T) -> T
    where
        T: Clone,
    {
        self.given().cloned().unwrap_or(default)
    }

    /// The value; its absence is an error.
    pub(crate) fn required(
        &self,
        path: &str,
        key: &str,
        hint: &str,
        report: &mut Report<'_>,
    ) -> Option<&T> {
        if self.is_absent() {
            report.error(below(path, key), format!("`{key}` is missing"), hint);
        }
        self.given()
    }
}

impl<T> Field<Vec<T>> {
    /// The elements; none if the key was not written.
    pub(crate) fn elements(&self) -> &[T] {
        self.given().map_or(&[], Vec::as_slice)
    }
}

/// Something that can stand at the right of a `=`.
pub(crate) trait Value: Sized {
    /// What to write, for the reference and for "expected …".
    fn form() -> String;

    /// Reads it, or reports what is wrong with it.
    fn read(value: &Spanned<DeValue<'_>>, path: &str, report: &mut Report<'_>) -> Option<Self>;
}

/// A table with known keys.
pub(crate) trait Section: Value {
    /// Its header, without brackets.
    const HEADER: &'static str;
    /// What it is for.
    const ABOUT: &'static str;
    /// Its keys.
    fn keys() -> Vec<Key>;
}

/// A key of a section, for the reference.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) form: String,
    pub(crate) about: &'static str,
}

/// The path of a key within a table.
pub(crate) fn below(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Reports that a value is of another type.
pub(crate) fn wrong_type<T: Value>(value: &DeValue<'_>, path: &str, report: &mut Report<'_>) {
    report.error(
        path,
        format!("expected {}, found {}", T::form(), with_article(value)),
        format!("write {}", T::form()),
    );
}

/// The table, once its keys have been compared with those of the section.
pub(crate) fn table<'v, 'i, S: Section>(
    value: &'v Spanned<DeValue<'i>>,
    path: &str,
    names: &[&'static str],
    report: &mut Report<'_>,
) -> Option<&'v DeTable<'i>> {
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type::<S>(value.get_ref(), path, report);
        return None;
    };
    unknown_keys(table, S::HEADER, path, names, report);
    Some(table)
}

/// Reports the keys of a table that its section does not have.
pub(crate) fn unknown_keys(
    table: &DeTable<'_>,
    header: &str,
    path: &str,
    names: &[&'static str],
    report: &mut Report<'_>,
) {
    for (key, _) in table.iter() {
        let name = key.get_ref().as_ref();
        if names.contains(&name) {
            continue;
        }
        let path = below(path, name);
        report.place(&path, key.span().start);
        let place = if header.is_empty() {
            "the file".to_owned()
        } else {
            format!("`{header}`")
        };
        if let Some(why) = unsupported::key(header, name) {
            report.error(
                path,
                format!("`{name}` is not supported by this version"),
                why,
            );
        } else {
            let hint = match nearest_name(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => did_you_mean("", names.iter().copied(), "remove it; its keys are"),
            };
            report.error(path, format!("{place} has no key `{name}`"), hint);
        }
    }
}

/// Reads one key of a table.
pub(crate) fn field<T: Value>(
    table: &DeTable<'_>,
    path: &str,
    key: &str,
    report: &mut Report<'_>,
) -> Field<T> {
    let Some((written, value)) = table.get_key_value(key) else {
        return Field::Absent;
    };
    let path = below(path, key);
    report.place(&path, written.span().start);
    T::read(value, &path, report).map_or(Field::Wrong, Field::Given)
}

impl<T: Value> Value for Vec<T> {
    fn form() -> String {
        format!("a list of: {}", T::form())
    }

    /// Reads each element; the path has its `name` if it is a table with one, else its index.
    fn read(value: &Spanned<DeValue<'_>>, path: &str, report: &mut Report<'_>) -> Option<Self> {
        let DeValue::Array(array) = value.get_ref() else {
            wrong_type::<Self>(value.get_ref(), path, report);
            return None;
        };
        let mut labels: Vec<String> = Vec::new();
        let mut elements = Vec::new();
        for (index, element) in array.iter().enumerate() {
            let name = element
                .get_ref()
                .get("name")
                .and_then(|name| name.get_ref().as_str());
            let label = match name {
                Some(name) if labels.iter().any(|label| label == name) => format!("{name}#{index}"),
                Some(name) => name.to_owned(),
                None => index.to_string(),
            };
            let path = format!("{path}[{label}]");
            labels.push(label);
            report.place(&path, element.span().start);
            elements.extend(T::read(element, &path, report));
        }
        // A list with a wrong element is not the list that was meant.
        (elements.len() == array.len() || array.iter().all(|element| element.get_ref().is_table()))
            .then_some(elements)
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    fn form() -> String {
        format!("a table of names, each = {}", T::form())
    }

    fn read(value: &Spanned<DeValue<'_>>, path: &str, report: &mut Report<'_>) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            wrong_type::<Self>(value.get_ref(), path, report);
            return None;
        };
        let mut entries = Self::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            let path = below(path, name);
            report.place(&path, key.span().start);
            entries.insert(name.to_owned(), T::read(value, &path, report)?);
        }
        Some(entries)
    }
}

fn with_article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
