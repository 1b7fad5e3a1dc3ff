//! The file as people get it wrong.

use proptest::prelude::*;

use super::*;

/// The faults of a text, as `line:column: message`.
fn faults(text: &str) -> Vec<String> {
    parse(text).map_or_else(|faults| faults.iter().map(ToString::to_string).collect(), |_| vec![])
}

const SMALL: &str = "[repositories.main]\nurl = \"/srv/backups\"\n[sources.a]\npath = \"a.db\"\n";

#[test]
fn the_example_is_right_and_shows_every_key() {
    assert_eq!(faults(EXAMPLE), Vec::<String>::new());
    // Every property of the schema, of whatever table, stands in the example.
    let schema = schema();
    let mut keys = Vec::new();
    let mut tables = vec![&schema];
    while let Some(table) = tables.pop() {
        if let Some(properties) = table["properties"].as_object() {
            keys.extend(properties.keys());
        }
        tables.extend(table["$defs"].as_object().into_iter().flat_map(|defs| defs.values()));
    }
    assert!(keys.len() > 60, "{keys:?}");
    for key in keys {
        let stands = EXAMPLE.contains(&format!("{key} = "))
            || EXAMPLE.contains(&format!("[{key}"))
            || EXAMPLE.contains(&format!(".{key}]"))
            || EXAMPLE.contains(&format!(".{key}."));
        assert!(stands, "the example lacks {key}");
    }
}

#[test]
fn the_example_is_what_its_own_schema_calls_for() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    let documented = |table: &serde_json::Value| {
        table["properties"].as_object().into_iter().flatten().all(|(_, property)| {
            property["description"].as_str().is_some_and(|text| !text.is_empty())
        })
    };
    assert!(documented(&schema) && schema["$defs"].as_object().unwrap().values().all(documented));
}

#[test]
fn all_faults_are_told_at_once_with_their_places() {
    let text = "listen = 8420\nstaet_dir = \"x\"\n\n[repositories.main]\nurl = \"/srv\"\ngrace = \"soon\"\n\n\
                [sources.a]\npath = \"a.db\"\n\n[schedules.s]\ncron = \"0 25 * * *\"\ndo = \"dance\"\nsauces = []\n";
    let found = faults(text);
    let places: Vec<&str> =
        found.iter().filter_map(|fault| fault.split_once(": ")).map(|(place, _)| place).collect();
    assert_eq!(places, ["1:10", "2:1", "6:9", "12:8", "13:6", "14:1"], "{found:#?}");
    assert!(
        found[1].contains("staet_dir") && found[2].contains("a time") && found[3].contains("hour")
    );
}

#[test]
fn text_that_is_no_toml_is_told_with_its_place() {
    let found = faults("a = \n[b\nc = 1");
    assert!(found.len() >= 2 && found[0].starts_with("1:"), "{found:?}");
}

#[test]
fn what_leads_nowhere_or_means_nothing_is_told() {
    for (rest, place, word) in [
        ("[schedules.s]\ncron = \"@daily\"\nsources = [\"b\"]", "7:12", "[sources.b], but a"),
        ("[schedules.s]\ncron = \"@daily\"\nrepository = \"mian\"", "7:14", "main"),
        ("[schedules.s]\ncron = \"@daily\"\ncopy_to = [\"main\"]", "7:1", "once"),
        ("[schedules.s]\ncron = \"@daily\"\nretention = \"r\"", "7:13", "[retention.r]"),
        ("[schedules.s]\ncron = \"@daily\"\ntags = { a = \"{dat}\" }", "7:14", "{date}"),
        ("[schedules.s]\ncron = \"@daily\"\nattempts = 0", "7:1", "1 to 100"),
        ("[schedules.s]\ncron = \"@daily\"\ndo = \"verify\"\nfull = true", "8:1", "no meaning"),
        ("[schedules.s]\ncron = \"0 0 30 2 *\"", "6:8", "never"),
        ("[schedules.\"a/b\"]\ncron = \"@daily\"", "5:12", "letters"),
        (
            "[retention.r]\nkeep_last = 1\n[schedules.s]\ncron = \"@daily\"\nretention = \"r\"\n[schedules.t]\ncron = \"@hourly\"",
            "10:12",
            "different rules",
        ),
        ("[schedules.s]\ncron = \"@daily\"\nrpo = \"1m\"", "7:1", "without `watch`"),
        ("[schedules.s]\ncron = \"@daily\"\nmax_wal = \"2MiB\"", "7:1", "without `watch`"),
        ("[schedules.s]\ncron = \"@daily\"\nwatch = \"1m\"\nrpo = \"9s\"", "8:1", "longer"),
        ("[schedules.s]\ncron = \"@daily\"\nwatch = \"1ms\"", "7:9", "100ms"),
        ("[schedules.s]\ncron = \"@daily\"\nwatch = \"1s\"\nname = \"{date}\"", "8:8", "no runs"),
        (
            "[sources.r]\npath = \"redb:r\"\n[schedules.s]\ncron = \"@daily\"\nwatch = \"1s\"",
            "9:1",
            "SQLite",
        ),
        (
            "[sources.r]\npath = \"r\"\nimmutable = true\n[schedules.s]\ncron = \"@daily\"\nwatch = \"1s\"",
            "10:1",
            "`immutable`",
        ),
        (
            "[schedules.s]\ncron = \"@daily\"\nwatch = \"1s\"\n[schedules.t]\ncron = \"@daily\"\nwatch = \"9s\"",
            "10:1",
            "schedules.s watch a",
        ),
        ("[retention.r]\nkeep_oldest = true", "5:12", "no rule"),
        ("[retention.r]\nkeep_last = 0", "6:1", "1 or more"),
        ("[notifications.n]\nlog = true\ncommand = { run = \"true\" }", "5:16", "one of"),
        ("[notifications.n]\nlog = true\nschedules = [\"x\"]", "7:14", "[schedules.x]"),
        (
            "[notifications.n]\nwebhook = { url = \"https://a\", template = \"{'text': 1}\" }",
            "6:43",
            "JSON",
        ),
        ("[notifications.n]\nwebhook = { url = \"ftp://a\" }", "6:1", "http"),
        ("[repositories.b]\nurl = \"nonsense://x\"", "6:1", "nonsense"),
    ] {
        let found = faults(&format!("{SMALL}{rest}"));
        assert!(
            found.len() == 1
                && found[0].starts_with(&format!("{place}: "))
                && found[0].contains(word),
            "{rest}: {found:#?}"
        );
    }
    assert_eq!(faults("max_running = 0"), ["1:1: from 1 to 1024 runs can be under way at once"]);
}

#[test]
fn secrets_do_not_stand_in_the_file() {
    for secret in ["\"hunter2\"", "{ env = \"A\", file = \"b\" }", "{}", "{ value = \"hunter2\" }"]
    {
        let text = format!("[repositories.main]\nurl = \"/srv\"\npassword = {secret}\n");
        let found = faults(&text);
        assert!(!found.is_empty(), "{secret}");
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    }
}

#[test]
fn relative_paths_count_from_the_files_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mantis.toml");
    std::fs::write(
        &file,
        "[repositories.main]\nurl = \"backups\"\n[sources.a]\npath = \"sqlite:a.db\"\n",
    )
    .unwrap();
    let config = load(&file).unwrap();
    assert_eq!(
        config.repositories["main"].url,
        folder.path().join("backups").display().to_string()
    );
    assert_eq!(
        config.sources["a"].path,
        format!("sqlite:{}", folder.path().join("a.db").display())
    );
    assert!(load(&folder.path().join("none.toml")).is_err());
}

proptest! {
    #[test]
    fn no_text_does_harm(at in 0..EXAMPLE.len(), len in 0usize..60, with in "\\PC{0,12}") {
        let floor = |mut at: usize| { while !EXAMPLE.is_char_boundary(at) { at -= 1; } at };
        let (from, to) = (floor(at), floor((at + len).min(EXAMPLE.len())));
        let text = format!("{}{with}{}", &EXAMPLE[..from], &EXAMPLE[to..]);
        if let Err(faults) = parse(&text) {
            prop_assert!(!faults.is_empty());
            prop_assert!(faults.iter().all(|fault| fault.line >= 1 && fault.column >= 1 && !fault.message.is_empty()));
        }
    }
}
