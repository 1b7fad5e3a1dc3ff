//! `azblob://container/prefix`: Azure Blob Storage.
//!
//! The account is named by `account` or `AZURE_STORAGE_ACCOUNT_NAME`; its key comes from `AZURE_STORAGE_ACCOUNT_KEY` or
//! a token from `AZURE_STORAGE_SAS_TOKEN`; else from where Azure's own tools look (service principals, workload and
//! managed identities).

use std::sync::Arc;

use opendal::services::Azblob;

use super::{finish, place, variable};
use crate::address::Address;
use crate::transport::Extras;
use crate::{Sink, SinkError};

const OPTIONS: &str = "account, endpoint, anonymous";

pub(crate) fn open(mut address: Address) -> Result<Arc<dyn Sink>, SinkError> {
    let mut builder =
        Azblob::default().container(&place(&address, "container")?).root(&address.path);
    let account = address
        .take("account")
        .or_else(|| variable(&["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"]));
    if let Some(account) = &account {
        builder = builder.account_name(account);
    }
    match (address.take("endpoint").or_else(|| variable(&["AZURE_STORAGE_ENDPOINT"])), &account) {
        (Some(endpoint), _) => builder = builder.endpoint(&endpoint),
        (None, Some(account)) => {
            builder = builder.endpoint(&format!("https://{account}.blob.core.windows.net"));
        }
        (None, None) => {
            let why = "it names no account: give `account` or AZURE_STORAGE_ACCOUNT_NAME";
            return Err(address.invalid(why));
        }
    }
    if address.take_flag("anonymous")? {
        builder = builder.skip_signature();
    } else if let Some(key) = variable(&["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"]) {
        builder = builder.account_key(&key);
    } else if let Some(token) = variable(&["AZURE_STORAGE_SAS_TOKEN"]) {
        builder = builder.sas_token(token.trim_start_matches('?'));
    }
    finish(address, OPTIONS, Extras::default(), builder)
}
