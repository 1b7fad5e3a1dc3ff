//! Templates of what webhooks are sent.

use serde_json::Value;

use super::Notice;
use crate::config::{Occasion, Template, TextOrSecret, WebhookConfig};

/// A value as the inside of a JSON string.
fn escaped(value: &str) -> String {
    let quoted = Value::from(value).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// A template of JSON with what is known of a notice.
pub(super) fn fill(template: &Template, notice: &Notice) -> String {
    template.fill(|hole| escaped(&notice.value(hole)))
}

/// Whether a webhook's address and template make sense.
pub(crate) fn check_webhook(config: &WebhookConfig) -> Result<(), String> {
    if let TextOrSecret::Text(url) = &config.url
        && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
    {
        return Err("a webhook's address begins with https:// or http://".into());
    }
    let Some(text) = &config.template else { return Ok(()) };
    let template =
        Template::parse(text.get_ref(), &Notice::HOLES).map_err(|error| error.to_string())?;
    let filled = fill(&template, &Notice::new(Occasion::Failure, "\"title\"", "a\nmessage"));
    let parsed = serde_json::from_str::<Value>(&filled);
    parsed.map(|_| ()).map_err(|error| format!("the template makes no JSON: {error}"))
}
