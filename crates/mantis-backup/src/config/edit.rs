//! A schedule, or rules, in the file changed, and nothing else: comments and everything that is not asked for stay as they are.

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::{Action, Config, Fault, parse};

/// A schedule as people edit it. Keys of it that are not here stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScheduleEdit {
    /// Its name.
    pub(crate) name: String,
    /// When.
    pub(crate) cron: String,
    /// What it does.
    pub(crate) action: Action,
    /// How often its sources are looked at between its runs; not at all without it.
    pub(crate) watch: Option<String>,
    /// Of which databases; of all without it.
    pub(crate) sources: Option<Vec<String>>,
    /// In which repository; the only one without it.
    pub(crate) repository: Option<String>,
    /// What is kept; all without it.
    pub(crate) retention: Option<String>,
    /// Whose times of day are meant; the configuration's without it.
    pub(crate) timezone: Option<String>,
    /// Whether it is on.
    pub(crate) enabled: bool,
}

/// Sets a key. What stands beside a value, such as a comment, stays there.
fn set(table: &mut dyn TableLike, key: &str, value: Option<Value>) {
    match (table.get_mut(key).and_then(Item::as_value_mut), value) {
        (Some(old), Some(new)) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        (None, Some(new)) => {
            table.insert(key, Item::Value(new));
        }
        (_, None) => {
            table.remove(key);
        }
    }
}

/// What is wrong, as a fault of no one line.
pub(crate) fn fault(message: impl Into<String>) -> Vec<Fault> {
    vec![Fault { line: 1, column: 1, message: message.into() }]
}

/// The table of that name in a section, made where it is not there.
fn table<'a>(
    document: &'a mut DocumentMut,
    section: &str,
    name: &str,
) -> Result<&'a mut dyn TableLike, Vec<Fault>> {
    let mut new = Table::new();
    new.set_implicit(true);
    let tables = document.entry(section).or_insert(Item::Table(new));
    let is_inline = tables.is_inline_table();
    let no_table = || fault(format!("`{section}` is no table: put it right in the file"));
    let tables = tables.as_table_like_mut().ok_or_else(no_table)?;
    if tables.get(name).is_none() {
        let new = if is_inline {
            Item::Value(InlineTable::new().into())
        } else {
            Item::Table(Table::new())
        };
        tables.insert(name, new);
    }
    tables.get_mut(name).and_then(Item::as_table_like_mut).ok_or_else(no_table)
}

fn read(text: &str) -> Result<DocumentMut, Vec<Fault>> {
    text.parse().map_err(|error: toml_edit::TomlError| fault(error.message()))
}

/// The file with rules in it changed, or added. Each key of them is set, or taken out.
///
/// # Errors
/// As [`with_schedule`].
pub(crate) fn with_retention(
    text: &str,
    name: &str,
    rules: Vec<(&str, Option<Value>)>,
) -> Result<(String, Config), Vec<Fault>> {
    let mut document = read(text)?;
    let table = table(&mut document, "retention", name)?;
    for (key, value) in rules {
        set(table, key, value);
    }
    let text = document.to_string();
    let config = parse(&text)?;
    Ok((text, config))
}

/// The file with a schedule in it changed, or added; and what it says then.
///
/// # Errors
/// What would be wrong in the file, or is.
pub(crate) fn with_schedule(
    text: &str,
    edit: &ScheduleEdit,
) -> Result<(String, Config), Vec<Fault>> {
    let mut document = read(text)?;
    let table = table(&mut document, "schedules", &edit.name)?;
    let text = |text: &String| Value::from(text.as_str());
    set(table, "cron", Some(text(&edit.cron)));
    // What is left out means a backup, and that it is on.
    let is_usual = edit.action == Action::Backup && table.get("do").is_none();
    set(table, "do", (!is_usual).then(|| Value::from(edit.action.name())));
    set(table, "watch", edit.watch.as_ref().map(text));
    if edit.watch.is_none() {
        // They would mean nothing.
        ["rpo", "max_wal"].into_iter().for_each(|key| set(table, key, None));
    }
    let sources = edit.sources.as_ref();
    set(table, "sources", sources.map(|it| Value::from(it.iter().collect::<Array>())));
    set(table, "repository", edit.repository.as_ref().map(text));
    set(table, "retention", edit.retention.as_ref().map(text));
    set(table, "timezone", edit.timezone.as_ref().map(text));
    let is_usual = edit.enabled && table.get("enabled").is_none();
    set(table, "enabled", (!is_usual).then(|| Value::from(edit.enabled)));
    let text = document.to_string();
    let config = parse(&text)?;
    Ok((text, config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EXAMPLE;

    fn edit(name: &str) -> ScheduleEdit {
        ScheduleEdit {
            name: name.into(),
            cron: "*/10 * * * *".into(),
            action: Action::Backup,
            watch: None,
            sources: None,
            repository: Some("main".into()),
            retention: None,
            timezone: None,
            enabled: true,
        }
    }

    #[test]
    fn one_schedule_changes_and_everything_else_stays_as_it_was() {
        let text = "# all of it\n[repositories.main]\nurl = \"/r\" # here\n[sources.a]\npath = \"a.db\"\n\n# at night\n[schedules.x]\ncron = \"0 1 * * *\" # early\njitter = \"5m\"\nsources = [\"a\"]\nenabled = false\n\n[schedules.y]\ncron = \"@daily\"\n";
        let (new, config) = with_schedule(text, &edit("x")).unwrap();
        let wanted = text
            .replace("\"0 1 * * *\"", "\"*/10 * * * *\"")
            .replace("sources = [\"a\"]\n", "")
            .replace("enabled = false\n", "enabled = true\nrepository = \"main\"\n");
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&new), lines(&wanted), "{new}");
        assert!(new.contains("# early") && new.contains("# at night\n[schedules.x]"));
        assert!(config.schedules["x"].jitter.is_some());
        assert_eq!(config.schedules["y"].cron.0.text(), "@daily");
        assert_eq!(with_schedule(&new, &edit("x")).unwrap().0, new, "the same again");
    }

    #[test]
    fn a_new_one_is_added_however_the_file_is_written() {
        let base = "[repositories.main]\nurl = \"/r\"\n[sources.a]\npath = \"a.db\"\n";
        for before in [
            String::new(),
            "\n[schedules.x]\ncron = \"@daily\"\n".to_owned(),
            "\n[schedules]\nx = { cron = \"@daily\" }\n".to_owned(),
        ] {
            let (new, config) = with_schedule(&format!("{base}{before}"), &edit("new")).unwrap();
            assert_eq!(config.schedules["new"].cron.0.text(), "*/10 * * * *", "{new}");
            assert!(new.starts_with(base), "{new}");
        }
        let inline = format!("schedules = {{ x = {{ cron = \"@daily\" }} }}\n{base}");
        let (new, config) = with_schedule(&inline, &edit("new")).unwrap();
        assert_eq!(config.schedules.len(), 2, "{new}");
    }

    #[test]
    fn what_would_be_wrong_is_told() {
        let text = "[repositories.main]\nurl = \"/r\"\n[sources.a]\npath = \"a.db\"\n";
        assert!(with_schedule(text, &edit("x")).is_ok());
        for wrong in [
            ScheduleEdit { cron: "soon".into(), ..edit("x") },
            ScheduleEdit { repository: Some("else".into()), ..edit("x") },
            ScheduleEdit { retention: Some("else".into()), ..edit("x") },
            ScheduleEdit { sources: Some(vec!["else".into()]), ..edit("x") },
            ScheduleEdit { timezone: Some("Mars/Base".into()), ..edit("x") },
            edit("no name"),
            edit(""),
            edit("a\"]\n[x"),
        ] {
            assert!(with_schedule(text, &wrong).is_err(), "{wrong:?}");
        }
        assert!(with_schedule("schedules = 3", &edit("x")).is_err());
        assert!(with_schedule("not toml", &edit("x")).is_err());
    }

    #[test]
    fn rules_are_changed_and_added_and_what_is_wrong_is_told() {
        let text = "[retention.x]\nkeep_last = 3 # few\nmax_age = \"1y\"\n";
        let rules = || vec![("keep_last", Some(Value::from(5))), ("max_age", None)];
        let (new, config) = with_retention(text, "x", rules()).unwrap();
        assert_eq!(new, "[retention.x]\nkeep_last = 5 # few\n");
        assert_eq!(config.retention["x"].keep_last, Some(5));
        let (new, config) = with_retention(text, "y", rules()).unwrap();
        assert!(new.starts_with(text) && config.retention.len() == 2, "{new}");
        assert!(with_retention(text, "x", vec![("keep_last", None), ("max_age", None)]).is_err());
        assert!(with_retention(text, "x", vec![("max_age", Some(Value::from("soon")))]).is_err());
        assert!(with_retention(text, "no name", rules()).is_err());
    }

    #[test]
    fn what_is_of_a_watch_goes_with_it() {
        let text = "[repositories.main]\nurl = \"/r\"\n[sources.a]\npath = \"a\"\n[schedules.x]\ncron = \"@daily\"\nwatch = \"5s\" # quick\nrpo = \"1m\"\nmax_wal = \"2MiB\"\n";
        let watched = |every: &str| ScheduleEdit { watch: Some(every.into()), ..edit("x") };
        let (new, config) = with_schedule(text, &watched("2s")).unwrap();
        assert!(new.contains("watch = \"2s\" # quick\nrpo = \"1m\""), "{new}");
        assert!(config.schedules["x"].max_wal.is_some());
        let (new, config) = with_schedule(&new, &edit("x")).unwrap();
        assert!(!new.contains("rpo") && config.schedules["x"].watch.is_none(), "{new}");
        assert!(with_schedule(text, &watched("soon")).is_err());
    }

    #[test]
    fn every_schedule_of_the_example_can_be_changed() {
        let config = parse(EXAMPLE).unwrap();
        for name in config.schedules.keys() {
            // Rules of retention stay: two schedules that keep the same by different rules are refused.
            let retention = config.schedules[name].retention.as_ref();
            let retention = retention.map(|rules| rules.get_ref().clone());
            let action = config.schedules[name].action;
            let watch = config.schedules[name].watched_every();
            // Not all of its databases can be watched.
            let sources = config.schedules[name].sources.as_ref();
            let sources = sources.map(|all| all.iter().map(|it| it.get_ref().clone()).collect());
            let edited = ScheduleEdit { action, retention, watch, sources, ..edit(name) };
            let (new, changed) = with_schedule(EXAMPLE, &edited).unwrap();
            assert_eq!(changed.schedules[name].cron.0.text(), "*/10 * * * *");
            let comments = |text: &str| text.matches('#').count();
            assert!(comments(&new) + 2 >= comments(EXAMPLE), "comments are kept: {name}");
        }
    }
}
