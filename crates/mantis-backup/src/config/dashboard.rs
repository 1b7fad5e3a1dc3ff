//! The table of the daemon's pages: who may come, from where, and what for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{FromText, PasswordHash, Text, TokenHash};

const fn twelve_hours() -> Text<Duration> {
    Text(Duration::from_secs(12 * 3600))
}

/// The daemon's pages. Without users they are read-only, without a login, and on the loopback alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DashboardConfig {
    /// Names that browsers may ask for it by, besides localhost and addresses by number
    #[serde(default)]
    pub hosts: Vec<Text<HostName>>,
    /// Serve HTTPS instead of HTTP
    pub tls: Option<TlsConfig>,
    /// Browsers reach it by HTTPS all the same, as a proxy on the way speaks it: cookies are for HTTPS alone
    #[serde(default)]
    pub behind_https: bool,
    /// Proxies, by address or network, whose `X-Forwarded-For` is believed where `behind_https` is on; those on this machine are always
    #[serde(default)]
    pub proxies: Vec<Text<Network>>,
    /// How long a login lasts
    #[serde(default = "twelve_hours")]
    pub session_timeout: Text<Duration>,
    /// Folders that operators may restore to by the pages; nowhere without them
    #[serde(default)]
    pub restore_folders: Vec<PathBuf>,
    /// Who may log in, by name
    #[serde(default)]
    pub users: BTreeMap<String, UserConfig>,
}

impl DashboardConfig {
    /// Whether browsers come by HTTPS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.tls.is_some() || self.behind_https
    }

    /// Whether what an address says of who asked it is believed.
    #[must_use]
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.behind_https
            && (address.is_loopback()
                || self.proxies.iter().any(|network| network.0.0.contains(&address)))
    }

    /// Whether people log in, and do so over plain HTTP.
    #[must_use]
    pub fn sends_passwords_openly(&self) -> bool {
        !self.users.is_empty() && !self.is_secure()
    }
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            tls: None,
            behind_https: false,
            proxies: Vec::new(),
            session_timeout: twelve_hours(),
            restore_folders: Vec::new(),
            users: BTreeMap::new(),
        }
    }
}

/// What HTTPS needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate, and those up to a known authority, as PEM
    pub certificate: PathBuf,
    /// Its private key, as PEM
    pub key: PathBuf,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look
    ReadOnly,
    /// Look, run and cancel, pause, restore
    Operator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "read-only",
            Self::Operator => "operator",
        })
    }
}

/// Someone, or a program, who may come in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// What they may do
    pub role: Role,
    /// For people: what `mantis config password` prints
    pub password_hash: Option<Text<PasswordHash>>,
    /// For programs: what `mantis config token` prints
    pub token_hash: Option<Text<TokenHash>>,
}

/// Addresses with a common beginning; one alone, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl FromText for Network {
    const NAME: &'static str = "an address or a network";
    const EXAMPLES: &'static [&'static str] = &["10.1.2.3", "10.0.0.0/8", "fd00::/8"];

    fn from_text(text: &str) -> Result<Self, String> {
        let one = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let network = text.parse::<IpNet>().ok().or_else(|| one().ok());
        let unknown = || format!("{text:?} is neither an address nor a network such as 10.0.0.0/8");
        network.map(Self).ok_or_else(unknown)
    }
}

/// A host's name, in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(pub String);

impl FromText for HostName {
    const NAME: &'static str = "a host's name";
    const EXAMPLES: &'static [&'static str] = &["backups.example"];

    fn from_text(text: &str) -> Result<Self, String> {
        let is_label = |label: &str| {
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            (1..=63).contains(&label.len()) && label.bytes().all(is_known)
        };
        if text.len() <= 253 && text.split('.').all(is_label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("a host's name is written as backups.example, without a scheme and a port".into())
        }
    }
}

impl FromText for PasswordHash {
    const NAME: &'static str = "a hashed password";
    const EXAMPLES: &'static [&'static str] = &[
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$8WnPCLWYgVhsnsLu6Qk9o7d2X7vP6Y7tOPxYJGq3g2Y",
    ];

    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl FromText for TokenHash {
    const NAME: &'static str = "a hashed token";
    const EXAMPLES: &'static [&'static str] =
        &["4f2a0c1e9b7d5834a6c0e2f4187b3d5968ac0e1f2b3d4c5a69788796a5b4c3d2"];

    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_right_and_others_are_not() {
        for example in Network::EXAMPLES {
            assert!(Network::from_text(example).is_ok());
        }
        for wrong in ["", "proxy.example", "10.0.0.0/33", "10.0.0.0/8/8", "10.0.0"] {
            assert!(Network::from_text(wrong).is_err(), "{wrong}");
        }
        for example in HostName::EXAMPLES {
            assert!(HostName::from_text(example).is_ok());
        }
        assert_eq!(HostName::from_text("Backups.Example").unwrap().0, "backups.example");
        for wrong in ["", "https://a", "a:80", "a..b", ".a", "a/b", "a b", "ä.example"] {
            assert!(HostName::from_text(wrong).is_err(), "{wrong}");
        }
        for example in PasswordHash::EXAMPLES {
            PasswordHash::from_text(example).unwrap();
        }
        for example in TokenHash::EXAMPLES {
            TokenHash::from_text(example).unwrap();
        }
    }
}
