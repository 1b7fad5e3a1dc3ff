//! `gcs://bucket/prefix`: Google Cloud Storage.
//!
//! Credentials come from where Google's own tools look: `GOOGLE_APPLICATION_CREDENTIALS`, the user's login, the machine's
//! service account.

use std::sync::Arc;

use opendal::services::Gcs;

use super::{finish, place};
use crate::address::Address;
use crate::transport::Extras;
use crate::{Sink, SinkError};

const OPTIONS: &str = "endpoint, storage_class, service_account, anonymous";

pub(crate) fn open(mut address: Address) -> Result<Arc<dyn Sink>, SinkError> {
    let mut builder = Gcs::default().bucket(&place(&address, "bucket")?).root(&address.path);
    if let Some(endpoint) = address.take("endpoint") {
        builder = builder.endpoint(&endpoint);
    }
    if let Some(class) = address.take("storage_class") {
        builder = builder.default_storage_class(&class);
    }
    if let Some(account) = address.take("service_account") {
        builder = builder.service_account(&account);
    }
    if address.take_flag("anonymous")? {
        builder = builder.skip_signature();
    }
    finish(address, OPTIONS, Extras::default(), builder)
}
