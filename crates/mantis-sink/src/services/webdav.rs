//! `webdav://host:port/path`: WebDAV servers (RFC 4918), over HTTPS unless `http=true`.
//!
//! The user is `WEBDAV_USERNAME`, or stands before the host; the password is `WEBDAV_PASSWORD`, a bearer token
//! `WEBDAV_TOKEN`. Creation asks with `If-None-Match: *`; whether a server keeps that under a race is its own affair, so
//! it is not promised.

use std::sync::Arc;

use opendal::services::Webdav;

use super::{finish, place, variable};
use crate::address::Address;
use crate::transport::Extras;
use crate::{Sink, SinkError};

const OPTIONS: &str = "http";

pub(crate) fn open(mut address: Address) -> Result<Arc<dyn Sink>, SinkError> {
    let place = place(&address, "host")?;
    let (user, host) = match place.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (variable(&["WEBDAV_USERNAME"]), &*place),
    };
    let scheme = if address.take_flag("http")? { "http" } else { "https" };
    let mut builder = Webdav::default().endpoint(&format!("{scheme}://{host}")).root(&address.path);
    if let Some(user) = user {
        builder = builder.username(&user);
        if let Some(password) = variable(&["WEBDAV_PASSWORD"]) {
            builder = builder.password(&password);
        }
    }
    if let Some(token) = variable(&["WEBDAV_TOKEN"]) {
        builder = builder.token(&token);
    }
    finish(address, OPTIONS, Extras::create_only(), builder)
}
