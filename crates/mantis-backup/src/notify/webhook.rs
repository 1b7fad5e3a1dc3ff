//! By HTTP.

use std::time::Duration;

use futures::future::BoxFuture;

use super::body::request;
use super::{Notice, Notifier};
use crate::Error;
use crate::config::WebhookConfig;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells by HTTP.
#[derive(Debug, Clone)]
pub struct Webhook(WebhookConfig);

fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Other {
        doing: "tell a webhook".into(),
        source: source.into(),
        help: Some("check the webhook's address and what its service says".into()),
    }
}

impl Webhook {
    /// As the configuration has it.
    #[must_use]
    pub const fn new(config: WebhookConfig) -> Self {
        Self(config)
    }

    async fn send(&self, notice: &Notice) -> Result<(), Error> {
        let config = self.0.clone();
        // Secrets may be what a command prints.
        let secrets = tokio::task::spawn_blocking(move || {
            let headers =
                config.headers.iter().map(|(name, value)| Ok((name.clone(), value.read()?)));
            Ok::<_, Error>((config.url.read()?, headers.collect::<Result<Vec<_>, Error>>()?))
        });
        let (url, headers) = secrets.await.map_err(failed)??;
        let told = request(&self.0, url.trim(), notice);
        // An address may hold a secret: it is taken out of errors.
        let failed = |error: reqwest::Error| failed(error.without_url());
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .user_agent("mantis")
            .build()
            .map_err(failed)?;
        let mut request = client.post(told.url).body(told.body);
        for (name, value) in told.headers {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(name, value.trim());
        }
        request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        Ok(())
    }
}

impl Notifier for Webhook {
    fn notify<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.send(notice))
    }
}
