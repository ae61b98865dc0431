use std::error::Error;
use std::fmt;

use serde::Serialize;

/// One thing that is wrong, or suspect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// The key that it is about, as in `pool[web].origin[a].address`; empty for the whole file.
    pub path: String,
    /// Line in the file, from 1, where known.
    pub line: Option<usize>,
    /// Column in the line, in characters from 1, where known.
    pub column: Option<usize>,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub hint: String,
}

/// All that is wrong with a configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Invalid {
    /// The file's name, or what stands for it.
    pub origin: String,
    /// The file could not be read at all, so that nothing is known of its content.
    pub unreadable: bool,
    /// Every error, in the order of the file.
    pub errors: Vec<Problem>,
    /// What is suspect besides.
    pub warnings: Vec<Problem>,
}

impl Invalid {
    pub(super) fn unreadable_file(origin: &str, problem: String, hint: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            unreadable: true,
            errors: vec![Problem {
                path: String::new(),
                line: None,
                column: None,
                problem,
                hint: hint.to_owned(),
            }],
            warnings: Vec::new(),
        }
    }
}

impl fmt::Display for Problem {
    /// Writes the place, and on further, indented lines what is wrong and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "file"
        } else {
            &self.path
        };
        f.write_str(path)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, " (line {line}, column {column})")?;
        }
        write!(f, "\n    {}\n    -> {}", self.problem, self.hint)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len();
        let noun = if count == 1 { "error" } else { "errors" };
        write!(f, "{}: {count} {noun}", self.origin)?;
        for error in &self.errors {
            write!(f, "\n\n{error}")?;
        }
        Ok(())
    }
}

impl Error for Invalid {}
