//! What webhooks are sent.

use serde_json::json;

use super::Notice;
use super::template::fill;
use crate::config::{Occasion, Template, WebhookConfig, WebhookStyle};

/// The longest text that Discord takes, in characters.
const DISCORD_MOST: usize = 2000;

/// A request to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// The address.
    pub(super) url: String,
    /// Headers, but for those that the configuration has.
    pub(super) headers: Vec<(&'static str, String)>,
    /// The body.
    pub(super) body: String,
}

/// As Slack's markup wants it.
fn for_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Puts a word behind an address's path.
fn with_suffix(url: &str, suffix: &str) -> String {
    match url.split_once('?') {
        Some((path, query)) => format!("{}{suffix}?{query}", path.trim_end_matches('/')),
        None => format!("{}{suffix}", url.trim_end_matches('/')),
    }
}

/// The request that tells a notice. A template that cannot be read was refused before.
pub(super) fn request(config: &WebhookConfig, url: &str, notice: &Notice) -> Request {
    let json = |body: String| Request {
        url: url.to_owned(),
        headers: vec![("content-type", "application/json".into())],
        body,
    };
    let template = config.template.as_ref();
    if let Some(template) =
        template.and_then(|text| Template::parse(text.get_ref(), &Notice::HOLES).ok())
    {
        return json(fill(&template, notice));
    }
    let (title, text) = (&notice.title, notice.text());
    match config.style {
        WebhookStyle::Json => json(json!(notice).to_string()),
        WebhookStyle::Slack => {
            let text = format!("*{}*\n{}", for_slack(title), for_slack(&text));
            json(json!({ "text": text }).to_string())
        }
        WebhookStyle::Discord => {
            let content: String =
                format!("**{title}**\n{text}").chars().take(DISCORD_MOST).collect();
            // Nobody is called by what stands in an error.
            json(json!({ "content": content, "allowed_mentions": { "parse": [] } }).to_string())
        }
        WebhookStyle::Ntfy => Request {
            url: url.to_owned(),
            headers: vec![
                ("title", title.replace(['\r', '\n'], " ")),
                ("priority", if notice.is_bad() { "high" } else { "default" }.into()),
                ("tags", if notice.is_bad() { "warning" } else { "white_check_mark" }.into()),
            ],
            body: text,
        },
        WebhookStyle::Healthchecks => {
            let suffix = match notice.event {
                Occasion::Success | Occasion::Recovery => "",
                Occasion::Failure | Occasion::Damage => "/fail",
                Occasion::Missed | Occasion::NearlyFull => "/log",
            };
            Request { url: with_suffix(url, suffix), headers: Vec::new(), body: text }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn config(rest: &str) -> WebhookConfig {
        let text = format!("[notifications.n]\nwebhook = {{ url = \"https://a/b\", {rest} }}\n");
        let config = crate::config::parse(&text).unwrap();
        config.notifications["n"].webhook.clone().unwrap()
    }

    fn notice() -> Notice {
        let message = "backup of \"a\" failed:\n<disk> & all";
        Notice { error: Some("full".into()), ..Notice::new(Occasion::Failure, "a failed", message) }
    }

    fn sent(rest: &str) -> Request {
        request(&config(rest), "https://a/b?c=d", &notice())
    }

    #[test]
    fn each_style_is_what_its_service_takes() {
        let body = |rest: &str| serde_json::from_str::<Value>(&sent(rest).body).unwrap();
        assert_eq!(body("style = \"json\"")["event"], "failure");
        assert_eq!(
            body("style = \"slack\"")["text"],
            "*a failed*\nbackup of \"a\" failed:\n&lt;disk&gt; &amp; all"
        );
        assert_eq!(body("style = \"discord\"")["allowed_mentions"], json!({ "parse": [] }));
        let ntfy = sent("style = \"ntfy\"");
        assert!(
            ntfy.headers.contains(&("priority", "high".into())) && ntfy.body.contains("<disk>")
        );
        assert_eq!(sent("style = \"healthchecks\"").url, "https://a/b/fail?c=d");
    }

    #[test]
    fn a_template_is_json_whatever_stands_in_the_message() {
        let sent = sent("template = '{\"text\": \"{message}: {error}\", \"x\": [{}]}'");
        let body: Value = serde_json::from_str(&sent.body).unwrap();
        assert_eq!(body["text"], "backup of \"a\" failed:\n<disk> & all: full");
    }

    #[test]
    fn what_was_left_out_is_told() {
        let notice = Notice { left_out: 3, ..notice() };
        let sent = request(&config("style = \"ntfy\""), "https://a", &notice);
        assert!(sent.body.ends_with("(3 more of these were not told)"));
    }
}
