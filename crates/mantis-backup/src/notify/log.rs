//! In the log.

use futures::future::BoxFuture;

use super::{Notice, Notifier};
use crate::Error;

/// Tells the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log;

impl Notifier for Log {
    fn notify<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), Error>> {
        let (event, text) = (notice.event.name(), notice.text());
        if notice.is_bad() {
            tracing::error!(event, title = %notice.title, "{text}");
        } else {
            tracing::info!(event, title = %notice.title, "{text}");
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
