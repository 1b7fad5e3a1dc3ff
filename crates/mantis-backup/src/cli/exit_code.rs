//! The exit codes: part of the command's contract.

use std::process::ExitCode;

use mantis_repo::RepoError;

use crate::Error;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    /// Failed; for `verify`, damage was found.
    Failed,
    /// Wrong usage.
    Usage,
    /// Some of what was asked for was done.
    InPart,
    NoRepository,
    /// No password, or a wrong one.
    Password,
    /// Stopped by a signal, and cleaned up.
    Interrupted,
}

impl Ending {
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Usage { .. } | Error::Config(_) => Self::Usage,
            Error::Repo(RepoError::NoRepository { .. }) => Self::NoRepository,
            Error::Repo(error) if error.is_password() => Self::Password,
            error if error.is_cancelled() => Self::Interrupted,
            _ => Self::Failed,
        }
    }

    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::InPart => 3,
            Self::NoRepository => 10,
            Self::Password => 12,
            Self::Interrupted => 130,
        })
    }
}
