//! Keys from keys (HKDF-SHA-256, RFC 5869) and keys from passwords (Argon2id, RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::RepoError;
use crate::vault::Secret;

struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

/// 32 bytes made of a key, for one purpose.
pub(crate) fn hkdf(key: &[u8], salt: &[u8], info: &[u8]) -> Result<Secret, RepoError> {
    let failed = |_| RepoError::Kdf { what: "HKDF refused its input".into() };
    let mut out = Zeroizing::new([0; 32]);
    let extracted = Salt::new(HKDF_SHA256, salt).extract(key);
    let info = [info];
    let expanded = extracted.expand(&info, Len(32)).map_err(failed)?;
    expanded.fill(&mut out[..]).map_err(failed)?;
    Ok(out)
}

/// How a password is made into a key: Argon2id, version 1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PasswordCost {
    /// 64 MiB, 3 passes, 4 lanes: what RFC 9106 recommends where memory is bounded, as a backup's is.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 4 }
    }
}

impl PasswordCost {
    /// The least memory that is accepted.
    const LEAST_KIB: u32 = 64 << 10;

    /// Refuses what a hostile repository might ask for: too much memory or time, or a cost so low that
    /// it gives the password away.
    pub(crate) fn check(&self) -> Result<(), RepoError> {
        let right = (Self::LEAST_KIB..=2 << 20).contains(&self.memory_kib)
            && (1..=16).contains(&self.passes)
            && (1..=16).contains(&self.lanes);
        if right {
            return Ok(());
        }
        Err(RepoError::Kdf { what: format!("a cost out of all bounds: {self:?}") })
    }

    /// The key that a password gives.
    pub(crate) fn key(&self, password: &[u8], salt: &[u8; 32]) -> Result<Secret, RepoError> {
        self.check()?;
        let failed = |error: argon2::Error| RepoError::Kdf { what: error.to_string() };
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32));
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(failed)?);
        let mut out = Zeroizing::new([0; 32]);
        argon2.hash_password_into(password, salt, &mut out[..]).map_err(failed)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hkdf_is_the_published_function() {
        // RFC 5869, test case 1, its first 32 bytes.
        let salt: Vec<u8> = (0..=0x0C).collect();
        let info: Vec<u8> = (0xF0..=0xF9).collect();
        let key = hkdf(&[0x0B; 22], &salt, &info).unwrap();
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
    }

    #[test]
    fn hostile_costs_are_refused_before_memory_is_taken() {
        let usual = PasswordCost::default();
        for cost in [
            PasswordCost { memory_kib: u32::MAX, ..usual },
            PasswordCost { memory_kib: 8, ..usual },
            PasswordCost { passes: 1000, ..usual },
            PasswordCost { lanes: 0, ..usual },
        ] {
            assert!(cost.key(b"password", &[0; 32]).is_err());
        }
    }
}
