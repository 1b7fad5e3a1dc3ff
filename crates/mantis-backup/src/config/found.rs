//! Databases that are found by the patterns of sources, as files come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "cli")]
use super::model::{JournalLocking, thirty_seconds};
use super::{Config, SourceConfig};
use crate::Error;
use crate::pattern::{Matches, Pattern};
use crate::source::split_engine;

/// What the patterns of a configuration found: for each source that is a pattern, its databases by names of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found(Arc<BTreeMap<String, Databases>>);

/// The databases of a source that is a pattern.
type Databases = BTreeMap<String, SourceConfig>;

impl Found {
    /// The databases of a source that is a pattern.
    pub fn of(&self, source: &str) -> impl Iterator<Item = (&str, &SourceConfig)> {
        let databases = self.0.get(source).into_iter().flatten();
        databases.map(|(name, database)| (&**name, database))
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&str, &SourceConfig)> {
        self.0.keys().flat_map(|source| self.of(source))
    }

    /// How many there are of each source that is a pattern.
    pub fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|(source, databases)| (&**source, databases.len()))
    }

    /// The database of that name: the source's own, a slash, and its path below the part of the pattern without anything special.
    fn get(&self, name: &str) -> Option<&SourceConfig> {
        self.0.get(name.split_once('/')?.0)?.get(name)
    }

    /// What is here and is not there.
    pub fn without<'a>(&'a self, there: &'a Self) -> impl Iterator<Item = &'a str> {
        let all = self.0.values().flat_map(BTreeMap::keys);
        all.map(String::as_str).filter(|name| there.get(name).is_none())
    }
}

/// What a search found, and what it is not sure of.
#[derive(Debug, Default)]
pub struct Search {
    /// What there is.
    pub found: Found,
    /// What was not looked at or cannot be taken, for people.
    pub problems: Vec<String>,
}

impl SourceConfig {
    /// Its pattern, if it is one.
    pub(crate) fn parse_pattern(&self) -> Option<Result<Pattern, Error>> {
        let pattern = self.pattern.as_deref()?;
        Some(Pattern::parse(pattern, &self.exclude, &self.folder))
    }

    /// A source of these words alone: a path, or a pattern that counts from the current folder.
    #[cfg(feature = "cli")]
    pub(crate) fn plain(text: &str, exclude: &[String]) -> Self {
        let is_pattern = Pattern::is_one(text);
        Self {
            path: if is_pattern { String::new() } else { text.to_owned() },
            pattern: is_pattern.then(|| text.to_owned()),
            exclude: if is_pattern { exclude.to_vec() } else { Vec::new() },
            folder: PathBuf::from("."),
            tags: BTreeMap::new(),
            journal_lock: JournalLocking::default(),
            immutable: false,
            freeze_timeout: thirty_seconds(),
        }
    }

    /// What is wrong with it by itself, and with which of its keys.
    pub(super) fn fault(&self) -> Option<(&'static str, String)> {
        match (self.path.is_empty(), self.parse_pattern()) {
            (true, None) => {
                Some(("path", "it has neither `path` nor `pattern`: what is it of?".into()))
            }
            (false, Some(_)) => {
                Some(("pattern", "it is of one `path`, or of what a `pattern` finds".into()))
            }
            (false, None) if !self.exclude.is_empty() => {
                Some(("exclude", "it has no meaning without `pattern`".into()))
            }
            (true, Some(Err(error))) => Some(("pattern", error.to_string())),
            _ => None,
        }
    }

    /// What it is of: its path, or its pattern.
    #[must_use]
    pub fn place(&self) -> &str {
        self.pattern.as_deref().unwrap_or(&self.path)
    }
}

/// A path without links, where it can be told.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

impl Config {
    /// The databases that there are: sources that are one, and what was found of those that are patterns.
    pub fn databases(&self) -> impl Iterator<Item = (&str, &SourceConfig)> {
        let single = self.sources.iter().filter(|(_, source)| source.pattern.is_none());
        let single = single.map(|(name, source)| (&**name, source));
        single.chain(self.found.all())
    }

    /// The database of that name.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<&SourceConfig> {
        let single = self.sources.get(name).filter(|source| source.pattern.is_none());
        single.or_else(|| self.found.get(name))
    }

    /// Whether the source of that name is a pattern.
    pub(super) fn is_pattern(&self, name: &str) -> bool {
        self.sources.get(name).is_some_and(|source| source.pattern.is_some())
    }

    /// Whether any source is a pattern.
    #[must_use]
    pub fn has_patterns(&self) -> bool {
        self.sources.values().any(|source| source.pattern.is_some())
    }

    /// Looks for the databases of sources that are patterns. What was found before in folders that cannot be read now is taken to be there
    /// still: a disk that is away for a moment takes no database out of its protection. A database that has a source of its own, or was found
    /// by another pattern, is not another one. Blocks.
    #[must_use]
    pub fn search(&self, before: &Found) -> Search {
        Search::among(&self.sources, before)
    }
}

impl Search {
    /// As [`Config::search`], among sources.
    #[must_use]
    pub fn among(sources: &BTreeMap<String, SourceConfig>, before: &Found) -> Self {
        let single = sources.values().filter(|source| source.pattern.is_none());
        let mut known: BTreeSet<PathBuf> = single.map(|source| real(source.path())).collect();
        let (mut all, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, source) in sources {
            let pattern = match source.parse_pattern() {
                Some(Ok(pattern)) => pattern,
                Some(Err(error)) => {
                    problems.push(error.chain());
                    continue;
                }
                None => continue,
            };
            let Matches { files, unread, passed_over } = pattern.find();
            // Below it no link is followed.
            let root = real(pattern.root());
            let mut databases = Databases::new();
            for (below, path) in files {
                let Some(text) = path.to_str() else { continue };
                if known.insert(root.join(&below)) {
                    databases.insert(format!("{name}/{below}"), source.at(pattern.source_of(text)));
                }
            }
            for (folder, why) in unread {
                problems.push(format!("{name}: {} cannot be read: {why}", folder.display()));
                let still = before.of(name);
                let still = still.filter(|(_, database)| database.path().starts_with(&folder));
                let still = still.map(|(name, database)| (name, source.at(database.path.clone())));
                for (name, database) in still {
                    databases.entry(name.to_owned()).or_insert(database);
                }
            }
            let passed_over = passed_over.into_iter();
            problems.extend(passed_over.map(|(path, why)| {
                format!("{name}: {path:?} fits, and is passed over: {why}; name it by `path`")
            }));
            all.insert(name.clone(), databases);
        }
        Self { found: Found(Arc::new(all)), problems }
    }
}

impl SourceConfig {
    /// The path, without the engine.
    pub(crate) fn path(&self) -> &Path {
        Path::new(split_engine(&self.path).1)
    }

    /// A source for one of its databases.
    fn at(&self, path: String) -> Self {
        Self { path, pattern: None, exclude: Vec::new(), ..self.clone() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::config::load;

    fn config(folder: &Path, text: &str) -> Config {
        let file = folder.join("mantis.toml");
        std::fs::write(&file, text).unwrap();
        load(&file).unwrap()
    }

    fn names(config: &Config) -> Vec<&str> {
        config.databases().map(|(name, _)| name).collect()
    }

    #[test]
    fn databases_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for tenant in ["a", "b"] {
            std::fs::create_dir_all(folder.join("tenants").join(tenant)).unwrap();
            std::fs::write(folder.join("tenants").join(tenant).join("app.db"), "").unwrap();
        }
        let mut config = config(
            folder,
            "[repositories.main]\nurl = 'r'\n[sources.b]\npath = 'tenants/b/app.db'\n[sources.all]\npattern = 'sqlite:tenants/**/*.db'\n\
             tags = { x = '{source}' }\n[sources.also]\npattern = 'tenants/*/app.db'\n[schedules.s]\ncron = '@daily'\n",
        );
        assert_eq!(names(&config), ["b"], "nobody looked yet");
        let search = config.search(&Found::default());
        assert_eq!(search.problems, [""; 0]);
        config.found = search.found.clone();
        assert_eq!(names(&config), ["b", "all/a/app.db"], "each is found once");
        let found = config.database("all/a/app.db").unwrap();
        assert_eq!(found.path, format!("sqlite:{}", folder.join("tenants/a/app.db").display()));
        assert_eq!(found.tags["x"], "{source}");
        assert!(found.pattern.is_none() && config.database("all").is_none());
        let schedule = &config.schedules["s"];
        assert_eq!(schedule.sources(&config), ["all/a/app.db", "b"]);
        let ids: Vec<String> =
            schedule.job_ids("s", &config).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["s/all/a/app.db", "s/b"]);
        assert_eq!(search.found.counts().collect::<Vec<_>>(), [("all", 1), ("also", 0)]);

        std::fs::rename(folder.join("tenants/a"), folder.join("tenants/c")).unwrap();
        let next = config.search(&search.found).found;
        assert_eq!(next.without(&search.found).collect::<Vec<_>>(), ["all/c/app.db"]);
        assert_eq!(search.found.without(&next).collect::<Vec<_>>(), ["all/a/app.db"]);
    }

    #[test]
    fn what_cannot_be_looked_at_is_there_still() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let tenants = folder.join("tenants");
        std::fs::create_dir(&tenants).unwrap();
        std::fs::write(tenants.join("a.db"), "").unwrap();
        let mut config = config(
            folder,
            "[repositories.main]\nurl = 'r'\n[sources.all]\npattern = 'sqlite:tenants/*.db'\n[schedules.s]\ncron = '@daily'\n",
        );
        config.found = config.search(&Found::default()).found;
        assert_eq!(names(&config), ["all/a.db"]);
        std::fs::rename(&tenants, folder.join("away")).unwrap();
        let search = config.search(&config.found);
        assert_eq!(search.found, config.found, "the disk may not be mounted");
        assert_eq!(search.problems.len(), 1);
        assert!(search.problems[0].contains("cannot be read"), "{:?}", search.problems);
        std::fs::create_dir(&tenants).unwrap();
        assert_eq!(config.search(&config.found).found.counts().collect::<Vec<_>>(), [("all", 0)]);
    }
}
