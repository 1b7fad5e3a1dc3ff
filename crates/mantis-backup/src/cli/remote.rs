//! A daemon elsewhere, talked to by HTTP.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::Value;
use zeroize::Zeroizing;

use super::args::DaemonArgs;
use crate::{Error, secrets};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// No answer is longer.
const LONGEST: usize = 64 << 20;
/// The environment's variable that holds a token itself.
const VARIABLE: &str = "MANTIS_DAEMON_TOKEN";

/// A daemon elsewhere.
#[derive(Debug)]
pub(crate) struct Remote {
    url: Url,
    token: Option<Zeroizing<String>>,
}

fn token(file: Option<&PathBuf>) -> Result<Option<Zeroizing<String>>, Error> {
    let bytes = match file {
        Some(file) => secrets::read_file(file, "token")?,
        None if std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty()) => {
            secrets::read_variable(VARIABLE)?
        }
        None => return Ok(None),
    };
    let text = std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.trim().to_owned()));
    text.map(Some).map_err(|_| {
        Error::usage("the token is no text", "`mantis config token` on the daemon's side makes one")
    })
}

/// Whether what is sent there stays on this machine.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The daemon's address. A token goes nowhere in the clear.
fn address(text: &str, has_token: bool) -> Result<Url, Error> {
    let example = "it is written as https://backups.example:8420 or http://localhost:8420";
    let url = Url::parse(text)
        .map_err(|error| Error::usage(format!("{text:?} is no address: {error}"), example))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(Error::usage(format!("{text:?} is no address of a daemon"), example));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        let what = "a daemon's address holds neither a name nor a password nor a query";
        return Err(Error::usage(what, "the token comes from --token-file or MANTIS_DAEMON_TOKEN"));
    }
    if has_token && url.scheme() == "http" && !is_here(&url) {
        let what = "a token is not sent over plain HTTP to another machine";
        return Err(Error::usage(what, "use https: `tls` of [dashboard], or a proxy; or `ssh -L`"));
    }
    Ok(url)
}

impl Remote {
    /// The daemon that the arguments name, if they name one.
    pub(crate) fn of(args: &DaemonArgs) -> Result<Option<Self>, Error> {
        let Some(text) = &args.daemon else { return Ok(None) };
        let token = token(args.token_file.as_ref())?;
        Ok(Some(Self { url: address(text, token.is_some())?, token }))
    }

    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Other {
            doing: format!("talk to the daemon at {}", self.url),
            source: source.into(),
            help: Some("see that `mantis serve` runs there, and what its log says".into()),
        }
    }

    /// Asks for something of `/api/v1`, such as `jobs`.
    ///
    /// # Errors
    /// What the daemon says, or what keeps it from being asked.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Error> {
        self.ask(Method::GET, path, query, None).await
    }

    /// Has something done.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/api/v1/{path}", self.url.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .user_agent("mantis")
            // Nobody else is given the token.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| self.failed(error))?;
        let mut request = client.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(&**token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let mut response =
            request.send().await.map_err(|error| self.failed(error.without_url()))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.failed(error.without_url()))?
        {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LONGEST {
                return Err(self.failed("its answer does not end"));
            }
        }
        let told: Result<Value, _> = serde_json::from_slice(&bytes);
        if status.is_success() {
            return told.map_err(|error| self.failed(error));
        }
        let told = told.unwrap_or_default();
        let what = told["error"].as_str().map_or_else(|| status.to_string(), str::to_owned);
        let help = told["help"].as_str().unwrap_or("see the daemon's log");
        Err(Error::usage(format!("the daemon at {} refuses: {what}", self.url), help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_sent_in_the_clear() {
        for (text, with, without) in [
            ("https://backups.example", true, true),
            ("http://localhost:8420", true, true),
            ("http://127.0.0.1:8420", true, true),
            ("http://[::1]:8420", true, true),
            ("http://backups.example:8420", false, true),
            ("http://localhost.evil.example", false, true),
            ("http://10.0.0.1", false, true),
            ("backups.example", false, false),
            ("ftp://backups.example", false, false),
            ("https://user:secret@backups.example", false, false),
            ("https://backups.example?token=x", false, false),
            ("", false, false),
        ] {
            assert_eq!(address(text, true).is_ok(), with, "{text}");
            assert_eq!(address(text, false).is_ok(), without, "{text}");
        }
    }
}
