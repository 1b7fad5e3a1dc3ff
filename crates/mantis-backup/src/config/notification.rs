//! Who is told of what.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Secret, Text, TextOrSecret};

/// What someone can be told of.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// A run did what it should
    Success,
    /// A run failed, and is not tried again before its next time
    Failure,
    /// A run did what it should, after one that failed
    Recovery,
    /// Runs were missed
    Missed,
    /// A verify or a drill found damage
    Damage,
    /// A repository's place is nearly full
    NearlyFull,
}

impl Occasion {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Success,
        Self::Failure,
        Self::Recovery,
        Self::Missed,
        Self::Damage,
        Self::NearlyFull,
    ];

    /// Its name, as it stands in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Recovery => "recovery",
            Self::Missed => "missed",
            Self::Damage => "damage",
            Self::NearlyFull => "nearly-full",
        }
    }
}

fn all_but_success() -> Vec<Occasion> {
    Occasion::ALL.into_iter().filter(|occasion| *occasion != Occasion::Success).collect()
}

const fn six_hours() -> Text<Duration> {
    Text(Duration::from_secs(6 * 3600))
}

const fn thirty() -> u32 {
    30
}

/// Someone who is told, by one of webhook, email, command and log.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotificationConfig {
    /// Of what; of all but success without it
    #[serde(default = "all_but_success")]
    pub on: Vec<Occasion>,
    /// Of which schedules; of all without it
    #[schemars(with = "Option<Vec<String>>")]
    pub schedules: Option<Vec<Spanned<String>>>,
    /// The same is not told again within this time; what was left out meanwhile is counted
    #[serde(default = "six_hours")]
    pub repeat_after: Text<Duration>,
    /// No more than this is told in an hour; what was left out is counted
    #[serde(default = "thirty")]
    #[schemars(range(min = 1))]
    pub max_per_hour: u32,
    /// By HTTP
    pub webhook: Option<WebhookConfig>,
    /// By e-mail
    pub email: Option<EmailConfig>,
    /// By a command
    pub command: Option<CommandConfig>,
    /// In the daemon's log
    #[serde(default)]
    pub log: bool,
}

/// What a webhook is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookStyle {
    /// All that is known, as one JSON object
    #[default]
    Json,
    /// As Slack's, Mattermost's and Rocket.Chat's incoming webhooks want it
    Slack,
    /// As Discord's webhooks want it
    Discord,
    /// As ntfy wants it: the text as the body, title and priority as headers
    Ntfy,
    /// As healthchecks.io wants its pings: to the address on success, to its /fail otherwise
    Healthchecks,
}

/// By HTTP.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// The address; as it often is a secret, it may be told as one
    pub url: TextOrSecret,
    /// What is sent
    #[serde(default)]
    pub style: WebhookStyle,
    /// The body instead: {event}, {title}, {message}, {schedule}, {source}, {repository}, {backup}, {error}, {host} and {time} are
    /// replaced, escaped as JSON strings are
    #[schemars(with = "Option<String>")]
    pub template: Option<Spanned<String>>,
    /// Headers to send
    #[serde(default)]
    pub headers: BTreeMap<String, TextOrSecret>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// TLS from the first byte; port 465
    #[default]
    Tls,
    /// TLS after STARTTLS, or not at all; port 587
    Starttls,
    /// None: for a server on this machine; port 25
    None,
}

/// By e-mail.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailConfig {
    /// The mail server's name
    pub server: String,
    /// Its port; the usual one without it
    pub port: Option<u16>,
    /// How the connection is protected
    #[serde(default)]
    pub security: Security,
    /// Who logs in there
    pub user: Option<String>,
    /// With which password
    pub password: Option<Secret>,
    /// From whom
    #[schemars(with = "String")]
    pub from: Spanned<String>,
    /// To whom
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub to: Vec<Spanned<String>>,
}

/// By a command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandConfig {
    /// For `sh -c`; it finds the JSON object on its standard input, and MANTIS_EVENT, MANTIS_TITLE, MANTIS_MESSAGE, MANTIS_SCHEDULE,
    /// MANTIS_SOURCE, MANTIS_ERROR in its environment
    pub run: String,
}

impl NotificationConfig {
    /// Whether it is to be told of an occasion of a schedule.
    #[must_use]
    pub fn wants(&self, occasion: Occasion, schedule: Option<&str>) -> bool {
        let named = |named: &Vec<Spanned<String>>| {
            schedule.is_none_or(|schedule| named.iter().any(|name| name.get_ref() == schedule))
        };
        self.on.contains(&occasion) && self.schedules.as_ref().is_none_or(named)
    }
}
