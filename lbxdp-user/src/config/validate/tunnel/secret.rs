//! Files that hold one secret each.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::report::Report;

/// What is in such a file. Messages name the file and say nothing of what is in it.
pub(super) struct Secret<D> {
    /// What it is to be, in words.
    pub(super) is: &'static str,
    /// How one is made.
    pub(super) make: &'static str,
    /// Makes the secret of the text; `None` if it is none.
    pub(super) decode: D,
}

impl<K, D: Fn(&str) -> Option<K>> Secret<D> {
    /// Reads the secret from a file that root alone can read, relative to `folder`; reports under
    /// `path` why not.
    pub(super) fn read(
        &self,
        file: &PathBuf,
        folder: Option<&Path>,
        path: &str,
        report: &mut Report<'_>,
    ) -> Option<K> {
        let file = folder.map_or_else(|| file.clone(), |folder| folder.join(file));
        match self.content(&file) {
            Ok(key) => Some(key),
            Err((problem, hint)) => {
                report.error(path, format!("{}: {problem}", file.display()), hint);
                None
            }
        }
    }

    fn content(&self, file: &Path) -> Result<K, (String, String)> {
        let failed = |error: std::io::Error| {
            let hint = "check the path; a relative one is relative to the configuration file";
            (error.to_string(), hint.to_owned())
        };
        let meta = fs::metadata(file).map_err(failed)?;
        let mode = meta.permissions().mode() & 0o777;
        if !meta.is_file() || meta.len() > 1024 {
            return Err(("is no file with a key".to_owned(), self.make.to_owned()));
        }
        // Without root, as `lbxdp check` may run, one's own files are as good.
        if meta.uid() != 0 && meta.uid() != nix::unistd::geteuid().as_raw() {
            let problem = format!(
                "belongs to user {}, who can read it, not to root",
                meta.uid()
            );
            return Err((problem, format!("`chown root {}`", file.display())));
        }
        if mode & 0o077 != 0 {
            let problem = format!("others than its owner have access (mode {mode:04o})");
            return Err((problem, format!("`chmod 600 {}`", file.display())));
        }
        let text = fs::read_to_string(file).map_err(failed)?;
        (self.decode)(text.trim()).ok_or_else(|| {
            let problem = format!("holds something else than {}", self.is);
            (problem, self.make.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_others_can_read_is_refused_by_name_and_mode_and_no_message_has_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let write = |mode, text: &str| {
            let _ = fs::remove_file(&file);
            let mut options = fs::OpenOptions::new();
            let mut open = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&file)
                .unwrap();
            open.write_all(text.as_bytes()).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        };
        let secret = Secret {
            is: "one number",
            make: "think of one",
            decode: |text: &str| text.parse::<u64>().ok(),
        };
        write(0o600, "8172635\n");
        assert_eq!(secret.content(&file), Ok(8_172_635));
        write(0o640, "8172635");
        let (problem, hint) = secret.content(&file).unwrap_err();
        assert!(problem.contains("0640"), "{problem}");
        assert!(hint.contains("chmod 600") && hint.contains("key"), "{hint}");
        write(0o600, "8172635x");
        let (problem, hint) = secret.content(&file).unwrap_err();
        assert!(problem.contains("one number"), "{problem}");
        assert!(!format!("{problem}{hint}").contains("81726"), "{problem}");
    }
}
