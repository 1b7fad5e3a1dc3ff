//! One prune: small layers put together, then what nothing refers to freed.

use mantis_repo::{CompactOptions, CompactReport, PruneOptions, PruneReport, Repository};
use mantis_stream::CancellationToken;

use crate::{Error, clock};

/// What to free, and how.
#[derive(Debug)]
pub struct PruneJob {
    /// Where.
    pub repo: Repository,
    /// The share of the repository that may be unused.
    pub max_unused: f64,
    /// How long what was removed waits, and who else uses the repository.
    pub options: PruneOptions,
    /// Stops it.
    pub cancel: CancellationToken,
}

/// What a prune did.
#[derive(Debug)]
pub struct Pruned {
    /// What was put together.
    pub compacted: CompactReport,
    /// What was freed.
    pub freed: PruneReport,
}

/// Prunes a repository.
///
/// # Errors
/// What the store reports, or a cancellation; what was freed until then is.
pub async fn prune(job: PruneJob) -> Result<Pruned, Error> {
    let compact = CompactOptions {
        max_unused: job.max_unused,
        dry_run: job.options.dry_run,
        owner: clock::owner(),
        cancel: job.cancel,
    };
    let compacted = job.repo.compact(&compact, clock::entropy()?, clock::now()).await?;
    let freed = job.repo.prune(job.options, clock::entropy()?, clock::now()).await?;
    Ok(Pruned { compacted, freed })
}
