//! HTTP status codes.

use toml::Spanned;
use toml::de::DeValue;

use super::read::{Value, wrong_type};
use crate::config::report::Report;

/// HTTP status codes: ranges, ends included.
#[derive(Clone, Debug)]
pub(crate) struct Codes(pub(crate) Vec<(u16, u16)>);

impl Value for Codes {
    fn form() -> String {
        "status codes (\"200\", \"2xx\", \"200-299\", \"200,204\", or a list of those)".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, path: &str, report: &mut Report<'_>) -> Option<Self> {
        let mut ranges = Vec::new();
        let mut pending = vec![value];
        while let Some(value) = pending.pop() {
            let text = match value.get_ref() {
                DeValue::Array(array) => {
                    pending.extend(array.iter().rev());
                    continue;
                }
                DeValue::Integer(integer) => integer.as_str(),
                DeValue::String(text) => text.as_ref(),
                DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Table(_) => {
                    wrong_type::<Self>(value.get_ref(), path, report);
                    return None;
                }
            };
            for part in text.split(',') {
                let Some(range) = codes(part.trim()) else {
                    report.error(
                        path,
                        format!("{part:?} is no status code from 100 to 599, nor a range of them"),
                        format!("write {}", Self::form()),
                    );
                    return None;
                };
                ranges.push(range);
            }
        }
        if ranges.is_empty() {
            report.error(
                path,
                "no status code would pass",
                format!("write {}", Self::form()),
            );
            return None;
        }
        Some(Self(ranges))
    }
}

/// A code, a range, or a class as in `2xx`.
fn codes(text: &str) -> Option<(u16, u16)> {
    let code = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|code| (100..=599).contains(code))
    };
    if let Some(class) = text.to_ascii_lowercase().strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (code(first)?, code(last)?),
        None => (code(text)?, code(text)?),
    };
    (first <= last).then_some((first, last))
}
