//! What is right by itself and wrong together: names that lead nowhere, templates, counts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;

use mantis_engine::EngineKind;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::source::{join_engine, split_engine};

use super::conflicts::{conflicts, watched_twice};
use super::{Action, Config, Fault, NotificationConfig, RetentionConfig, ScheduleConfig, Template};

/// Placeholders in names and tags of backups.
pub(crate) const NAMES: [&str; 5] = ["date", "time", "source", "schedule", "host"];

/// What a name is made of.
const NAME: &str = "a name is of letters, digits, '-', '_' and '.'; 64 at most";

/// Finds faults, and where they are.
pub(super) struct Checker<'a> {
    text: &'a str,
    table: &'a DeTable<'a>,
    faults: Vec<Fault>,
}

/// All that is wrong with the file as a whole.
pub(super) fn check(config: &Config, text: &str, table: &DeTable<'_>) -> Vec<Fault> {
    let mut checker = Checker { text, table, faults: Vec::new() };
    checker.top(config);
    checker.fleet(config);
    for (name, retention) in &config.retention {
        checker.retention(name, retention);
    }
    for (name, schedule) in &config.schedules {
        checker.schedule(config, name, schedule);
    }
    for (name, notification) in &config.notifications {
        checker.notification(config, name, notification);
    }
    for (first, second, source) in watched_twice(config) {
        let message = format!(
            "it and schedules.{first} watch {source}: one is enough; leave `watch` out of one, and keep its backups elsewhere too by `copy_to`"
        );
        checker.tell(&["schedules", second, "watch"], message);
    }
    for (first, second, name, repository) in conflicts(config) {
        let message = format!(
            "it and schedules.{first} back up {name} in {repository}, and keep it by different rules: each would remove what the other \
             is to keep; give both the same `retention`, or a `name` of their own, such as \"{{source}}-{{schedule}}\""
        );
        checker.tell(&["schedules", second, "retention"], message);
    }
    checker.faults
}

impl Checker<'_> {
    /// The place of the last key on a path that is in the file.
    fn place(&self, path: &[&str]) -> Range<usize> {
        let (mut table, mut span) = (self.table, 0..0);
        for name in path {
            let Some((key, value)) = table.get_key_value(*name) else { break };
            span = key.span();
            let DeValue::Table(inner) = value.get_ref() else { break };
            table = inner;
        }
        span
    }

    pub(super) fn tell(&mut self, path: &[&str], message: impl Into<String>) {
        let span = self.place(path);
        self.faults.push(Fault::at(self.text, &span, message));
    }

    fn tell_at(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.faults.push(Fault::at(self.text, span, message));
    }

    /// A name that must be one of those of a section.
    pub(super) fn known<T>(
        &mut self,
        name: &Spanned<String>,
        section: &str,
        there: &std::collections::BTreeMap<String, T>,
    ) {
        if !there.contains_key(name.get_ref()) {
            let known: Vec<&str> = there.keys().map(String::as_str).collect();
            let message = if known.is_empty() {
                format!("there is no [{section}.{}]", name.get_ref())
            } else {
                format!("there is no [{section}.{}], but {}", name.get_ref(), known.join(", "))
            };
            self.tell_at(&name.span(), message);
        }
    }

    fn template(&mut self, span: &Range<usize>, text: &str, known: &[&'static str]) {
        if let Err(error) = Template::parse(text, known) {
            self.tell_at(span, error.to_string());
        }
    }

    fn top(&mut self, config: &Config) {
        if !config.listen.is_empty() && config.listen.parse::<SocketAddr>().is_err() {
            self.tell(&["listen"], "an address to listen at is written as 127.0.0.1:8420");
        }
        if !(1..=1024).contains(&config.max_running) {
            self.tell(&["max_running"], "from 1 to 1024 runs can be under way at once");
        }
        if config.nice.is_some_and(|nice| nice > 19) {
            self.tell(&["nice"], "from 0, as others, to 19, after all others");
        }
        let sections = ["repositories", "sources", "retention", "schedules", "notifications"];
        for section in sections {
            let Some(DeValue::Table(table)) = self.table.get(section).map(Spanned::get_ref) else {
                continue;
            };
            let wrong: Vec<Range<usize>> =
                table.keys().filter(|key| !is_name(key.get_ref())).map(Spanned::span).collect();
            for span in wrong {
                self.tell_at(&span, NAME);
            }
        }
        self.users(config);
        for (name, repository) in &config.repositories {
            let place = ["repositories", name, "url"];
            if let Err(error) = mantis_sink::open_url(&repository.url) {
                self.tell(&place, mantis_sink::error_chain(&error));
            }
            if repository.min_free_space.is_some() && !is_local(&repository.url) {
                let place = ["repositories", name, "min_free_space"];
                self.tell(&place, "only a folder on this machine has free space to look at");
            }
        }
        for (name, source) in &config.sources {
            if let Some((key, message)) = source.fault() {
                self.tell(&["sources", name, key], message);
            }
            for (key, text) in &source.tags {
                let span = self.place(&["sources", name, "tags", key]);
                self.template(&span, text, &NAMES);
            }
        }
    }

    fn users(&mut self, config: &Config) {
        for (name, user) in &config.dashboard.users {
            let place = ["dashboard", "users", name];
            if !is_name(name) {
                self.tell(&place, NAME);
            }
            if user.password_hash.is_none() && user.token_hash.is_none() {
                self.tell(
                    &place,
                    "it has neither `password_hash` nor `token_hash`: nobody can log in as it",
                );
            }
        }
        if config.dashboard.tls.is_some() && config.dashboard.behind_https {
            self.tell(
                &["dashboard", "behind_https"],
                "it is for a proxy that speaks HTTPS while this speaks HTTP: leave it or `tls` out",
            );
        }
    }

    fn retention(&mut self, name: &str, retention: &RetentionConfig) {
        if retention.policy().is_empty() {
            self.tell(&["retention", name], "it has no rule and no cap: it removes nothing");
        }
        for (key, count) in retention.counts() {
            if count == Some(0) {
                self.tell(&["retention", name, key], "a count is 1 or more");
            }
        }
    }

    fn schedule(&mut self, config: &Config, name: &str, schedule: &ScheduleConfig) {
        let of = |key| ["schedules", name, key];
        for source in schedule.sources.iter().flatten() {
            self.known(source, "sources", &config.sources);
        }
        for repository in schedule.repository.iter().chain(&schedule.copy_to) {
            self.known(repository, "repositories", &config.repositories);
        }
        if let Some(retention) = &schedule.retention {
            self.known(retention, "retention", &config.retention);
        }
        if schedule.repository.is_none() && config.repositories.len() != 1 {
            let message = match config.repositories.len() {
                0 => "there is no repository: add a [repositories.NAME]",
                _ => "there are several repositories: say which with `repository`",
            };
            self.tell(&["schedules", name], message);
        }
        let places = schedule.repositories(config);
        if places.iter().collect::<BTreeSet<_>>().len() < places.len() {
            self.tell(&of("copy_to"), "each place for a backup is named once");
        }
        if schedule.action.is_per_source() && schedule.named(config).next().is_none() {
            self.tell(&["schedules", name], "it has no source: add a [sources.NAME]");
        }
        if schedule.attempts.is_some_and(|attempts| !(1..=100).contains(&attempts)) {
            self.tell(&of("attempts"), "a run is tried from 1 to 100 times");
        }
        if schedule.jobs > 1024 {
            self.tell(&of("jobs"), "from 0, one for each core, to 1024");
        }
        if let Some(template) = &schedule.name {
            self.template(&template.span(), template.get_ref(), &NAMES);
            let several = schedule.named(config).count() > 1
                || schedule.named(config).any(|name| config.is_pattern(name));
            if several && !template.get_ref().contains("{source}") {
                let message = "its sources would all have this name: put {source} in it";
                self.tell_at(&template.span(), message);
            }
        }
        for template in schedule.tags.values() {
            self.template(&template.span(), template.get_ref(), &NAMES);
        }
        self.means_something(schedule, of);
        if schedule.watch.is_some() {
            self.watch(config, name, schedule);
        }
    }

    /// What can be watched, and how.
    fn watch(&mut self, config: &Config, name: &str, schedule: &ScheduleConfig) {
        let of = |key| ["schedules", name, key];
        for source in schedule.named(config) {
            let Some(found) = config.sources.get(source) else { continue };
            let engine = split_engine(found.place()).0;
            if engine.is_some_and(|engine| engine != EngineKind::Sqlite) {
                let message = format!("{source} cannot be watched: SQLite databases can");
                self.tell(&of("watch"), message);
            } else if found.immutable {
                let message =
                    format!("{source} is `immutable`: nothing is committed that could be watched");
                self.tell(&of("watch"), message);
            }
        }
        let named = schedule.name.iter().map(|name| ("name", name));
        let tags = schedule.tags.values().map(|tag| ("tags", tag));
        for (key, template) in named.chain(tags) {
            if ["{date}", "{time}"].iter().any(|hole| template.get_ref().contains(hole)) {
                let message = format!(
                    "a watch has no runs whose {{date}} and {{time}} could stand in `{key}`"
                );
                self.tell_at(&template.span(), message);
            }
        }
        if schedule.rpo.is_some_and(|rpo| schedule.watch.is_some_and(|watch| rpo.0 <= watch.0.0)) {
            self.tell(&of("rpo"), "it is longer than `watch`: nothing is looked at more often");
        }
    }

    /// Keys that mean nothing for what a schedule does.
    fn means_something<'n>(
        &mut self,
        schedule: &ScheduleConfig,
        of: impl Fn(&'n str) -> [&'n str; 3],
    ) {
        let action = schedule.action;
        let of_backup = [
            ("copy_to", !schedule.copy_to.is_empty()),
            ("retention", schedule.retention.is_some()),
            ("tags", !schedule.tags.is_empty()),
            ("full", schedule.full),
            ("read_back", schedule.read_back),
            ("compression", schedule.compression.is_some()),
            ("limit_rate", schedule.limit_rate.is_some()),
            ("spool_limit", schedule.spool_limit.is_some()),
            ("watch", schedule.watch.is_some()),
        ];
        let of_watch = [("rpo", schedule.rpo.is_some()), ("max_wal", schedule.max_wal.is_some())];
        for (key, _) in of_watch.iter().filter(|(_, given)| *given && schedule.watch.is_none()) {
            self.tell(&of(key), "it has no meaning without `watch`");
        }
        let given = [
            (&of_backup[..], action == Action::Backup),
            (&[("sample", schedule.sample.is_some())], action == Action::Verify),
            (&[("sources", schedule.sources.is_some())], action.is_per_source()),
            (&[("name", schedule.name.is_some())], action.is_per_source()),
        ];
        for (keys, has_meaning) in given {
            for (key, _) in keys.iter().filter(|(_, given)| *given && !has_meaning) {
                self.tell(&of(key), format!("it has no meaning for `do = {:?}`", action.name()));
            }
        }
    }

    fn notification(&mut self, config: &Config, name: &str, told: &NotificationConfig) {
        let of = |key| ["notifications", name, key];
        let ways = [told.webhook.is_some(), told.email.is_some(), told.command.is_some(), told.log];
        if ways.iter().filter(|way| **way).count() != 1 {
            let message = "it has one of webhook, email, command and log = true";
            self.tell(&["notifications", name], message);
        }
        for schedule in told.schedules.iter().flatten() {
            self.known(schedule, "schedules", &config.schedules);
        }
        if told.max_per_hour == 0 {
            self.tell(&of("max_per_hour"), "1 or more; to be told nothing, remove it");
        }
        if let Some(webhook) = &told.webhook {
            if !cfg!(feature = "webhook") {
                self.tell(
                    &of("webhook"),
                    "this build has no webhooks: it needs the feature `webhook`",
                );
            }
            if let Err(why) = crate::notify::check_webhook(webhook) {
                let span = webhook
                    .template
                    .as_ref()
                    .map_or_else(|| self.place(&of("webhook")), Spanned::span);
                self.tell_at(&span, why);
            }
        }
        if let Some(email) = &told.email {
            if !cfg!(feature = "email") {
                self.tell(&of("email"), "this build has no e-mail: it needs the feature `email`");
            }
            for address in std::iter::once(&email.from).chain(&email.to) {
                if let Err(why) = crate::notify::check_address(address.get_ref()) {
                    self.tell_at(&address.span(), why);
                }
            }
            if email.to.is_empty() {
                self.tell(&of("email"), "`to` names nobody");
            }
            if email.user.is_some() != email.password.is_some() {
                self.tell(&of("email"), "user and password come together");
            }
        }
    }
}

/// Whether it is one that a table of the file may have.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain)
}

/// Whether an address is that of a folder on this machine.
pub(crate) fn is_local(url: &str) -> bool {
    !url.contains("://") || url.starts_with("file://")
}

impl Config {
    /// Makes relative paths count from a folder.
    pub(super) fn resolve(&mut self, folder: &Path) {
        for path in self.state_dir.iter_mut().chain(&mut self.temp_folder) {
            *path = folder.join(&*path);
        }
        for repository in self.repositories.values_mut() {
            if !repository.url.contains("://") {
                repository.url = folder.join(&repository.url).display().to_string();
            }
            for path in repository.identity_file.iter_mut().chain(&mut repository.cache_folder) {
                *path = folder.join(&*path);
            }
            if let Some(secret) = &mut repository.password {
                secret.resolve(folder);
            }
        }
        for source in self.sources.values_mut() {
            source.folder = folder.to_owned();
            if source.path.is_empty() {
                continue;
            }
            let (engine, path) = split_engine(&source.path);
            source.path = join_engine(engine, &folder.join(path).display().to_string());
        }
        for path in &mut self.dashboard.restore_folders {
            *path = folder.join(&*path);
        }
        if let Some(tls) = &mut self.dashboard.tls {
            tls.certificate = folder.join(&tls.certificate);
            tls.key = folder.join(&tls.key);
        }
        for told in self.notifications.values_mut() {
            if let Some(webhook) = &mut told.webhook {
                webhook.url.resolve(folder);
                webhook.headers.values_mut().for_each(|header| header.resolve(folder));
            }
            if let Some(password) = told.email.as_mut().and_then(|email| email.password.as_mut()) {
                password.resolve(folder);
            }
        }
    }
}
