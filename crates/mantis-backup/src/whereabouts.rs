//! Where a repository is, the same from whatever folder it was named.

use mantis_repo::Repository;

/// A repository's address without secrets; an absolute path for a folder. A replica has another one than what it is a replica of,
/// though both have the same id.
pub(crate) fn whereabouts(repo: &Repository) -> String {
    let location = repo.location();
    if location.contains("://") {
        return location;
    }
    std::path::absolute(&location).map_or(location, |path| path.display().to_string())
}
