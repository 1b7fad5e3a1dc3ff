//! Databases by the pattern of their paths: `/srv/tenants/**/*.db`.
//!
//! `*` and `?` stand for anything within a name, `**` for any folders, `[a-z]` and `{a,b}` for one of several. Links are not followed:
//! one database would be found twice, and a loop has no end. Those that would fit are told of.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use mantis_engine::EngineKind;
use walkdir::WalkDir;

use crate::Error;
use crate::source::{join_engine, split_engine};

/// What makes a path a pattern.
const SPECIAL: [char; 4] = ['*', '?', '[', '{'];
/// Ends of the names of files that engines keep beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Databases that one pattern may find: more than that, and it does not mean what it says.
const MOST: usize = 100_000;

/// A pattern of paths.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    engine: Option<EngineKind>,
    /// The part before anything special: where to look.
    root: PathBuf,
    /// The rest.
    wanted: GlobMatcher,
    /// What is left out, below the root.
    excluded: GlobSet,
    /// How deep to look.
    depth: usize,
}

/// What a pattern found.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    /// Each file by its path below the root.
    pub(crate) files: BTreeMap<String, PathBuf>,
    /// Folders that could not be read, or the root that is not there: what is in them is not known.
    pub(crate) unread: Vec<(PathBuf, String)>,
    /// What fits and cannot be taken, and why.
    pub(crate) passed_over: Vec<(PathBuf, &'static str)>,
}

fn wrong(text: &str, why: impl std::fmt::Display) -> Error {
    Error::usage(
        format!("{text:?} is no pattern: {why}"),
        "a pattern is written as /srv/tenants/**/*.db",
    )
}

fn glob(text: &str) -> Result<globset::Glob, Error> {
    // A name's star does not reach into folders.
    let built = GlobBuilder::new(text).literal_separator(true).build();
    built.map_err(|error| wrong(text, error.kind()))
}

impl Pattern {
    /// Whether a source's text is a pattern: it has something special in it, and no file is called so.
    #[cfg(any(feature = "cli", test))]
    pub(crate) fn is_one(text: &str) -> bool {
        let path = split_engine(text).1;
        path.contains(SPECIAL) && !Path::new(path).exists()
    }

    /// A pattern by its text, with an engine before it or not; a relative one counts from a folder. What is left out is written as it stands
    /// below the part without anything special.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn parse(text: &str, excluded: &[String], folder: &Path) -> Result<Self, Error> {
        let (engine, path) = split_engine(text);
        let at = path.find(SPECIAL).ok_or_else(|| wrong(text, "there is no * in it"))?;
        let (root, rest) = match path.get(..at).and_then(|before| before.rfind('/')) {
            Some(slash) => path.split_at(slash + 1),
            None => ("", path),
        };
        if rest.ends_with('/') {
            return Err(wrong(text, "it ends with a slash, and databases are files"));
        }
        let mut set = GlobSetBuilder::new();
        for text in excluded {
            set.add(glob(text)?);
        }
        let excluded = set.build().map_err(|error| wrong(text, error.kind()))?;
        let fixed_depth = !rest.contains("**") && !rest.contains('{');
        let depth = if fixed_depth { rest.split('/').count() } else { usize::MAX };
        let wanted = glob(rest)?.compile_matcher();
        Ok(Self { engine, root: folder.join(root), wanted, excluded, depth })
    }

    /// Where it looks.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The name that it has when it is given none: that of the folder where it looks.
    #[cfg(feature = "cli")]
    pub(crate) fn default_name(&self) -> String {
        let root = std::fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone());
        root.file_name().unwrap_or(OsStr::new("all")).to_string_lossy().into_owned()
    }

    /// The text of a source for one of its files.
    pub(crate) fn source_of(&self, path: &str) -> String {
        join_engine(self.engine, path)
    }

    /// Looks for files. Blocks.
    pub(crate) fn find(&self) -> Matches {
        let mut matches = Matches::default();
        for entry in WalkDir::new(&self.root).max_depth(self.depth) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.could_not_read(&error, &mut matches);
                    continue;
                }
            };
            let kind = entry.file_type();
            let Ok(below) = entry.path().strip_prefix(&self.root) else { continue };
            if kind.is_dir() || !self.fits(below) {
                continue;
            }
            let name = below.to_str().filter(|name| !name.chars().any(char::is_control));
            let why = match name {
                _ if kind.is_symlink() => "it is a link",
                _ if !kind.is_file() => "it is no file",
                None => "its name is not one that can be shown",
                Some(_) if matches.files.len() >= MOST => "there are 100,000 others already",
                Some(name) => {
                    matches.files.insert(name.to_owned(), entry.path().to_owned());
                    continue;
                }
            };
            if matches.passed_over.len() < MOST {
                matches.passed_over.push((entry.path().to_owned(), why));
            }
        }
        matches
    }

    fn fits(&self, below: &Path) -> bool {
        let name = below.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        self.wanted.is_match(below)
            && !self.excluded.is_match(below)
            && !BESIDE.iter().any(|end| name.ends_with(end))
    }

    fn could_not_read(&self, error: &walkdir::Error, matches: &mut Matches) {
        let kind = error.io_error().map(std::io::Error::kind);
        // What goes while it is looked for was not there.
        if kind == Some(ErrorKind::NotFound) && error.depth() > 0 {
            return;
        }
        let path = error.path().unwrap_or(&self.root).to_owned();
        let why = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
        matches.unread.push((path, why));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use proptest::prelude::*;

    use super::*;

    fn touch(folder: &Path, name: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    fn found(folder: &Path, text: &str, excluded: &[&str]) -> Vec<String> {
        let excluded: Vec<String> = excluded.iter().map(ToString::to_string).collect();
        let pattern = Pattern::parse(text, &excluded, folder).unwrap();
        pattern.find().files.into_keys().collect()
    }

    #[test]
    fn files_are_found_where_a_pattern_says() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for name in
            ["a.db", "x/b.db", "x/y/c.db", "x/y/c.db-wal", "x/y/c.sqlite", "z/d.db", "z/.e.db"]
        {
            touch(folder, name);
        }
        std::fs::create_dir(folder.join("folder.db")).unwrap();
        let find = |text: &str| found(folder, text, &[]);
        assert_eq!(find("*.db"), ["a.db"]);
        assert_eq!(find("**/*.db"), ["a.db", "x/b.db", "x/y/c.db", "z/.e.db", "z/d.db"]);
        assert_eq!(find("*/*.db"), ["x/b.db", "z/.e.db", "z/d.db"]);
        assert_eq!(find("x/**/*.{db,sqlite}"), ["b.db", "y/c.db", "y/c.sqlite"]);
        assert_eq!(find("sqlite:x/*/?.db"), ["y/c.db"]);
        assert_eq!(find("**/*"), find("**/*.{db,sqlite}"), "nothing that stands beside one");
        assert_eq!(find(&format!("{}/z/*.db", folder.display())), [".e.db", "d.db"]);
        assert_eq!(found(folder, "**/*.db", &["x/**", "**/.*"]), ["a.db", "z/d.db"]);
        let pattern = Pattern::parse("sqlite:*.db", &[], folder).unwrap();
        assert_eq!(pattern.source_of("/r/a.db"), "sqlite:/r/a.db");
    }

    #[test]
    fn what_cannot_be_taken_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        touch(folder, "a.db");
        touch(folder, "line\nbreak.db");
        symlink(folder.join("a.db"), folder.join("link.db")).unwrap();
        symlink(folder, folder.join("loop")).unwrap();
        let matches = Pattern::parse("**/*.db", &[], folder).unwrap().find();
        assert_eq!(matches.files.into_keys().collect::<Vec<String>>(), ["a.db"]);
        let passed_over: Vec<&str> = matches.passed_over.iter().map(|(_, why)| *why).collect();
        assert_eq!(passed_over.len(), 2, "{passed_over:?}");
        let gone = Pattern::parse("nowhere/*.db", &[], folder).unwrap().find();
        assert_eq!(
            gone.unread.len(),
            1,
            "a root that is not there may be a disk that is not mounted"
        );
        let shut = folder.join("shut");
        touch(folder, "shut/b.db");
        std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o000)).unwrap();
        // Root may read all.
        if std::fs::read_dir(&shut).is_err() {
            let matches = Pattern::parse("**/*.db", &[], folder).unwrap().find();
            assert_eq!(matches.unread.len(), 1);
            assert_eq!(matches.unread[0].0, shut);
        }
        std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["/srv/a.db", "/srv/[a.db", "/srv/*/", "/srv/{a.db"] {
            assert!(Pattern::parse(text, &[], Path::new("/")).is_err(), "{text}");
        }
        assert!(Pattern::parse("*.db", &["[".into()], Path::new("/")).is_err());
        let folder = tempfile::tempdir().unwrap();
        touch(folder.path(), "a[1].db");
        let there = folder.path().join("a[1].db").display().to_string();
        assert!(!Pattern::is_one(&there), "a file that is called so");
        assert!(Pattern::is_one("sqlite:/srv/*.db") && !Pattern::is_one("/srv/a.db"));
    }

    proptest! {
        /// Whatever text: it is a pattern or an error, and looking for it ends.
        #[test]
        fn no_text_is_too_much(text in "[a-z*?{},!\\[\\]\\\\./:-]{0,24}") {
            let folder = tempfile::tempdir().unwrap();
            touch(folder.path(), "a/b.db");
            if !text.contains("..") && !text.starts_with('/')
                && let Ok(pattern) = Pattern::parse(&text, &[], folder.path())
            {
                prop_assert!(pattern.find().files.len() <= 1);
            }
        }
    }
}
