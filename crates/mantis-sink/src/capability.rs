//! What a store promises.

/// What a store promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Of two that create one object at once, exactly one succeeds.
    pub exclusive_create: bool,
    /// What was acknowledged survives a crash of the machine that holds it.
    pub durable: bool,
    /// The store is reached over a network: calls cost milliseconds.
    pub remote: bool,
}
