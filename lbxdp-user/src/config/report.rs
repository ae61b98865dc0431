//! Collects what is wrong, and knows where in the text each key stands.

use std::collections::BTreeMap;

use super::problem::Problem;

/// Errors and warnings about one text.
pub(super) struct Report<'t> {
    text: &'t str,
    /// Byte offset of every key that was read, by path.
    places: BTreeMap<String, usize>,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            places: BTreeMap::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Notes that the key at `path` stands at byte `offset`.
    pub(super) fn place(&mut self, path: &str, offset: usize) {
        self.places.insert(path.to_owned(), offset);
    }

    /// Whether a key at `path` was written.
    pub(super) fn knows(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    pub(super) fn error(
        &mut self,
        path: impl Into<String>,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem = self.problem(path.into(), problem.into(), hint.into());
        self.errors.push(problem);
    }

    pub(super) fn warn(
        &mut self,
        path: impl Into<String>,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem = self.problem(path.into(), problem.into(), hint.into());
        self.warnings.push(problem);
    }

    /// Reports a syntax error, which has a place but no key.
    pub(super) fn syntax_error(&mut self, offset: Option<usize>, problem: String) {
        let place = offset.map(|offset| self.line_and_column(offset));
        self.errors.push(Problem {
            path: String::new(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            problem: format!("not TOML: {problem}"),
            hint: "correct the syntax (https://toml.io/en/v1.0.0)".to_owned(),
        });
    }

    /// Whether anything at or below `path` is wrong, so that a check that builds on it would only
    /// report the same mistake again.
    pub(super) fn faulty(&self, path: &str) -> bool {
        self.errors.iter().any(|error| {
            error
                .path
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// All errors and warnings, each in the order of the text.
    pub(super) fn finish(mut self) -> (Vec<Problem>, Vec<Problem>) {
        for list in [&mut self.errors, &mut self.warnings] {
            list.sort_by_key(|problem| (problem.line.is_none(), problem.line, problem.column));
            list.dedup();
        }
        (self.errors, self.warnings)
    }

    fn problem(&self, path: String, problem: String, hint: String) -> Problem {
        let place = self
            .nearest(&path)
            .map(|offset| self.line_and_column(offset));
        Problem {
            path,
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            problem,
            hint,
        }
    }

    /// The offset of the key, or of the innermost table around it that was written.
    fn nearest(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(&offset) = self.places.get(path) {
                return Some(offset);
            }
            path = path.get(..path.rfind(['.', '['])?)?;
        }
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        (line, column)
    }
}

/// The name that a misspelled one was meant to be, if one is near.
pub(super) fn nearest_name<'n>(
    written: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let written = written.to_lowercase();
    names
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&written, &name.to_lowercase()),
                name,
            )
        })
        .filter(|&(distance, name)| distance <= 1 + name.len().min(written.len()) / 4)
        .min()
        .map(|(_, name)| name)
}

/// A hint that names what was probably meant, or else all there is.
pub(super) fn did_you_mean<'n>(
    written: &str,
    names: impl IntoIterator<Item = &'n str> + Clone,
    otherwise: &str,
) -> String {
    if let Some(name) = nearest_name(written, names.clone()) {
        return format!("did you mean `{name}`?");
    }
    let all: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if all.is_empty() {
        otherwise.to_owned()
    } else {
        format!("{otherwise}: {}", all.join(", "))
    }
}
