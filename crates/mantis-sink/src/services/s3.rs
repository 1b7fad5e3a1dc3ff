//! `s3://bucket/prefix`: Amazon S3 and what speaks its language.
//!
//! Credentials come from where Amazon's own tools look: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, profiles,
//! web identities, the machine's or container's role.

use std::sync::Arc;
use std::time::Duration;

use opendal::services::S3;

use super::{finish, place};
use crate::address::Address;
use crate::object_lock::{LockMode, ObjectLock};
use crate::transport::Extras;
use crate::{Sink, SinkError, parse_duration};

/// As long as S3 lets a bucket's default retention be: 100 years.
const MAX_RETENTION: Duration = Duration::from_secs(36_500 * 86_400);

const OPTIONS: &str = "region, endpoint, profile, role_arn, external_id, storage_class, sse, sse_kms_key_id, \
     checksum, lock, lock_for, virtual_host, request_payer, anonymous";

/// `lock=compliance&lock_for=30d`: each object is locked as it is created.
fn take_lock(
    address: &mut Address,
    region: Option<&str>,
    (profile, role): (Option<&String>, Option<&String>),
) -> Result<Option<Arc<ObjectLock>>, SinkError> {
    let mode = match address.take("lock").as_deref() {
        None => None,
        Some("compliance") => Some(LockMode::Compliance),
        Some("governance") => Some(LockMode::Governance),
        Some(_) => return Err(address.invalid("`lock` is compliance or governance")),
    };
    let retain = address.take_as("lock_for", |text| match parse_duration(text)? {
        retain if retain <= MAX_RETENTION => Ok(retain),
        _ => Err("nothing is locked for more than 100 years".into()),
    })?;
    let (mode, retain) = match (mode, retain) {
        (None, None) => return Ok(None),
        (Some(mode), Some(retain)) => (mode, retain),
        _ => {
            return Err(
                address.invalid("`lock` and `lock_for` go together: lock=compliance&lock_for=30d")
            );
        }
    };
    if role.is_some() {
        return Err(address
            .invalid("`lock` does not go with `role_arn`: name a profile that assumes the role"));
    }
    let region = region.map(str::to_owned).or_else(|| {
        let set = |name| std::env::var(name).ok().filter(|region| !region.is_empty());
        set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION"))
    });
    let region = region.ok_or_else(|| address.invalid("`lock` needs a `region`"))?;
    Ok(Some(Arc::new(ObjectLock::new(mode, retain, region, profile.cloned()))))
}

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
    let profile = address.take("profile");
    if let Some(profile) = &profile {
        builder = builder.profile(profile);
    }
    let role = address.take("role_arn");
    if let Some(role) = &role {
        builder = builder.role_arn(role);
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
    let usual = endpoint.is_some().then_some("us-east-1");
    let region = region.as_deref().or(usual);
    let lock = take_lock(&mut address, region, (profile.as_ref(), role.as_ref()))?;
    // What is sent is proved by the store as it arrives.
    match address.take("checksum").as_deref() {
        Some("none") => {}
        Some("md5") => builder = builder.checksum_algorithm("md5"),
        // The one that every store with object lock takes.
        None if lock.is_some() => builder = builder.checksum_algorithm("md5"),
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
    let extras = Extras { lock, ..Extras::default() };
    finish(address, OPTIONS, extras, builder)
}
