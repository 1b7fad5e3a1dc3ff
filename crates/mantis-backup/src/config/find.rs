//! Which file is meant where none is named.

use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy, choose_base_strategy};

use super::ConfigError;

/// Where the file is looked for, in this order: here, in the user's configuration folder, in the system's.
#[must_use]
pub fn places() -> Vec<PathBuf> {
    let of_user =
        choose_base_strategy().ok().map(|dirs| dirs.config_dir().join("mantis/mantis.toml"));
    let here = Some(PathBuf::from("mantis.toml"));
    here.into_iter().chain(of_user).chain([PathBuf::from("/etc/mantis/mantis.toml")]).collect()
}

/// The file that is meant: the one that is named, else the first that is there.
///
/// # Errors
/// [`ConfigError::None`] where there is none.
pub fn find(named: Option<&Path>) -> Result<PathBuf, ConfigError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let looked = places();
    let found = looked.iter().find(|path| path.exists()).cloned();
    found.ok_or(ConfigError::None { looked })
}
