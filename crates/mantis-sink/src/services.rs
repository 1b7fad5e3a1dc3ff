//! The stores that OpenDAL's services reach over HTTP, by their addresses: one function for each.

#[cfg(feature = "azblob")]
mod azblob;
#[cfg(feature = "gcs")]
mod gcs;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "webdav")]
mod webdav;

use std::sync::Arc;

use opendal::Operator;

use crate::address::Address;
use crate::pushback::Pushback;
use crate::server_clock::ServerClock;
use crate::transport::{Extras, with_transport};
use crate::{OpendalSink, RetrySink, Sink, SinkError, StreamConfig, stream_config};

#[cfg(feature = "azblob")]
pub(crate) use azblob::open as azblob;
#[cfg(feature = "gcs")]
pub(crate) use gcs::open as gcs;
#[cfg(feature = "s3")]
pub(crate) use s3::open as s3;
#[cfg(feature = "webdav")]
pub(crate) use webdav::open as webdav;

/// An environment variable that is set to something.
#[cfg(any(feature = "azblob", feature = "webdav"))]
fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Requires the bucket or container that an address must name.
fn place(address: &Address, what: &str) -> Result<String, SinkError> {
    if address.place.is_empty() {
        return Err(
            address.invalid(format!("it names no {what}: {}://{what}/path", address.scheme))
        );
    }
    Ok(address.place.clone())
}

/// Puts a sink together of a service's builder, after its own options were taken out of the address.
fn finish<B: opendal::Builder>(
    mut address: Address,
    options: &str,
    extras: Extras,
    builder: B,
) -> Result<Arc<dyn Sink>, SinkError> {
    let config = StreamConfig::take_from(&mut address)?;
    let location = address.location();
    let invalid = |why: &str| address.invalid(why.to_owned());
    let operator = Operator::new(builder).map_err(|error| invalid(error.message()))?;
    address.clone().finish(&format!("{options}, {}", stream_config::OPTIONS))?;
    let (pushback, clock) = (Pushback::new(), ServerClock::new());
    let operator = with_transport(
        operator,
        &config,
        (pushback.clone(), clock.clone(), extras.clone()),
        &location,
    )?;
    let sink = OpendalSink::new(operator, location, true).with_clock(clock);
    #[cfg(feature = "s3")]
    let sink = sink.with_lock(extras.lock);
    Ok(Arc::new(RetrySink::with_pushback(Arc::new(sink), config, pushback)))
}
