//! `s3://bucket/prefix`: Amazon S3 and what speaks its language.
//!
//! Credentials come from where Amazon's own tools look: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, profiles,
//! web identities, the machine's or container's role.

use std::sync::Arc;

use opendal::services::S3;

use super::{finish, place};
use crate::address::Address;
use crate::{Sink, SinkError};

const OPTIONS: &str = "region, endpoint, profile, role_arn, external_id, storage_class, sse, sse_kms_key_id, \
     checksum, virtual_host, request_payer, anonymous";

pub(crate) fn open(mut address: Address) -> Result<Arc<dyn Sink>, SinkError> {
    let mut builder = S3::default().bucket(&place(&address, "bucket")?).root(&address.path);
    // A store of one's own needs no region; the signature needs one all the same.
    let endpoint = address.take("endpoint");
    let region = address.take("region");
    if let Some(region) = region.as_deref().or(endpoint.is_some().then_some("us-east-1")) {
        builder = builder.region(region);
    }
    if let Some(endpoint) = &endpoint {
        builder = builder.endpoint(endpoint);
    }
    if let Some(profile) = address.take("profile") {
        builder = builder.profile(&profile);
    }
    if let Some(role) = address.take("role_arn") {
        builder = builder.role_arn(&role);
    }
    if let Some(id) = address.take("external_id") {
        builder = builder.external_id(&id);
    }
    if let Some(class) = address.take("storage_class") {
        builder = builder.default_storage_class(&class);
    }
    let kms_key = address.take("sse_kms_key_id");
    match address.take("sse").as_deref() {
        None if kms_key.is_some() => {
            return Err(address.invalid("`sse_kms_key_id` needs `sse=aws:kms`"));
        }
        None => {}
        Some(kind @ ("AES256" | "aws:kms")) => {
            builder = builder.server_side_encryption(kind);
            if let Some(key) = kms_key {
                builder = builder.server_side_encryption_aws_kms_key_id(&key);
            }
        }
        Some(_) => return Err(address.invalid("`sse` is AES256 or aws:kms")),
    }
    // What is sent is proved by the store as it arrives; buckets with object lock ask for it.
    match address.take("checksum").as_deref() {
        Some("none") => {}
        Some("md5") => builder = builder.checksum_algorithm("md5"),
        None | Some("crc32c") => builder = builder.checksum_algorithm("crc32c"),
        Some(_) => return Err(address.invalid("`checksum` is crc32c, md5 or none")),
    }
    if address.take_flag("virtual_host")? {
        builder = builder.enable_virtual_host_style();
    }
    if address.take_flag("request_payer")? {
        builder = builder.enable_request_payer();
    }
    if address.take_flag("anonymous")? {
        builder = builder.skip_signature();
    }
    finish(address, OPTIONS, false, builder)
}
