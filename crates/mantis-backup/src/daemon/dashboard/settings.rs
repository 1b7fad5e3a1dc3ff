//! The configuration as it is now, to be read. No secret is in it, and where secrets are is not told.

use std::path::Path;

use askama::Template;
use axum::Router;
use axum::extract::{Extension, State};
use axum::response::Response;
use axum::routing::get;

use super::visitor::Visitor;
use super::{Board, pages, show};
use crate::config::{Config, NotificationConfig, RepositoryConfig, SourceConfig, UserConfig};
use crate::human::{size, time};

/// A table of the file.
#[derive(Debug)]
struct Section {
    title: String,
    rows: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    visitor: Visitor,
    file: String,
    version: &'static str,
    sections: Vec<Section>,
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn general(config: &Config) -> Section {
    let dashboard = &config.dashboard;
    let hosts = dashboard.hosts.iter().map(|host| host.0.0.as_str());
    let folders = dashboard.restore_folders.iter().map(|folder| path(folder));
    Section {
        title: "The daemon".into(),
        rows: vec![
            ("Listens at", config.listen.clone()),
            ("HTTPS", yes(dashboard.is_secure())),
            ("Also called", hosts.collect::<Vec<&str>>().join(", ")),
            ("A login lasts", time(dashboard.session_timeout.0)),
            ("Restores to", folders.collect::<Vec<String>>().join(", ")),
            ("Time zone", config.zone().name().to_owned()),
            ("Runs at once", config.max_running.to_string()),
            ("Waits when it stops", time(config.stop_timeout.0.0)),
            ("Gives way by", config.nice.map_or_else(String::new, |nice| nice.to_string())),
            ("On disks", format!("{:?}", config.io_priority).to_lowercase()),
        ],
    }
}

fn repository(name: &str, config: &RepositoryConfig) -> Section {
    let opened = match (&config.password, &config.identity_file) {
        (None, None) => "nothing: it is not encrypted",
        (Some(_), None) => "a password",
        (None, Some(_)) => "an identity",
        (Some(_), Some(_)) => "a password, or an identity",
    };
    let min_free = config.min_free_space.map(|space| size(space.0.0)).unwrap_or_default();
    Section {
        title: format!("Repository {name}"),
        rows: vec![
            ("Where", show::without_query(&config.url).to_owned()),
            ("Opened by", opened.into()),
            ("Left free", min_free),
            ("Unused at most", format!("{:.0} %", config.max_unused.0.0 * 100.0)),
            ("Brought back within", time(config.grace.0.0)),
            ("Pruned by this alone", yes(config.exclusive)),
        ],
    }
}

fn source(name: &str, config: &SourceConfig) -> Section {
    let tags = config.tags.iter().map(|(key, value)| format!("{key}={value}"));
    Section {
        title: format!("Source {name}"),
        rows: vec![
            ("Where", config.place().to_owned()),
            ("Left out", config.exclude.join(", ")),
            ("Tags", tags.collect::<Vec<String>>().join(", ")),
            ("Rollback journal", format!("{:?}", config.journal_lock).to_lowercase()),
            ("Written by nobody", yes(config.immutable)),
            ("Waited for", time(config.freeze_timeout.0.0)),
        ],
    }
}

fn told(name: &str, config: &NotificationConfig) -> Section {
    let ways = [
        (config.webhook.is_some(), "a webhook"),
        (config.email.is_some(), "e-mail"),
        (config.command.is_some(), "a command"),
        (config.log, "the log"),
    ];
    let way = ways.into_iter().find_map(|(is_it, way)| is_it.then_some(way));
    let on: Vec<&str> = config.on.iter().map(|occasion| occasion.name()).collect();
    Section {
        title: format!("Notification {name}"),
        rows: vec![("By", way.unwrap_or_default().into()), ("Of", on.join(", "))],
    }
}

fn user(name: &str, config: &UserConfig) -> Section {
    Section {
        title: format!("User {name}"),
        rows: vec![
            ("May be", config.role.to_string()),
            ("Password", yes(config.password_hash.is_some())),
            ("Token", yes(config.token_hash.is_some())),
        ],
    }
}

fn sections(config: &Config) -> Vec<Section> {
    let repositories = config.repositories.iter().map(|(name, it)| repository(name, it));
    let sources = config.sources.iter().map(|(name, it)| source(name, it));
    let notifications = config.notifications.iter().map(|(name, it)| told(name, it));
    let users = config.dashboard.users.iter().map(|(name, it)| user(name, it));
    let rest = repositories.chain(sources).chain(notifications).chain(users);
    std::iter::once(general(config)).chain(rest).collect()
}

async fn settings(State(board): State<Board>, Extension(visitor): Extension<Visitor>) -> Response {
    pages::page(Ok(SettingsPage {
        visitor,
        file: path(&board.file),
        version: env!("CARGO_PKG_VERSION"),
        sections: sections(&board.config()),
    }))
}

pub(super) fn routes() -> Router<Board> {
    Router::new().route("/settings", get(settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EXAMPLE, parse};

    #[test]
    fn everything_is_shown_but_where_secrets_are() {
        let config = parse(EXAMPLE).unwrap();
        let shown = format!("{:?}", sections(&config));
        for part in ["Source orders", "/srv/backups", "Notification mail", "Europe/Berlin"] {
            assert!(shown.contains(part), "{part}");
        }
        for secret in ["/etc/mantis/password", "OFFSITE_PASSWORD", "/run/secrets", "$argon2"] {
            assert!(!shown.contains(secret), "{secret}");
        }
    }
}
