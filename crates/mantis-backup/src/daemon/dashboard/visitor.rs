//! Whoever asks.

use crate::config::Role;

/// Whoever asks, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Visitor {
    /// The user; nobody where none is known, or none has to be.
    pub(super) user: Option<String>,
    /// May only look, or more.
    role: Option<Role>,
    /// What the forms of this session carry, so that a page from elsewhere cannot send one.
    pub(super) csrf: String,
    /// The address that asks.
    pub(super) from: String,
}

impl Visitor {
    /// Somebody of whom nothing is known but where they ask from.
    pub(super) fn from(from: String) -> Self {
        Self { from, ..Self::default() }
    }

    /// A user.
    pub(super) fn user(name: &str, role: Role, csrf: String, from: String) -> Self {
        Self { user: Some(name.to_owned()), role: Some(role), csrf, from }
    }

    /// Whether it may run, cancel, pause and restore.
    pub(super) fn may_change(&self) -> bool {
        self.role == Some(Role::Operator)
    }

    /// The user's name; nothing where there is none.
    pub(super) fn name(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }
}
