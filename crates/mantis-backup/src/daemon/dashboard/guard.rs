//! Who is answered, and what a browser may do with the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Board;
use crate::config::{DashboardConfig, HostName, Text};
use crate::daemon::listener::Peer;

/// Nothing from elsewhere, no script but ours, and no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Whether it is this machine that is asked for: by number, as `localhost`, or by a name that the configuration has. A page from elsewhere
/// whose name was made to point here ("DNS rebinding") has a browser ask for that name.
fn is_here(host: &str, names: &[Text<HostName>]) -> bool {
    // An address of version 6 stands in brackets, as it has colons itself.
    let (is_it, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            let is_ours = |ours: &Text<HostName>| name.eq_ignore_ascii_case(&ours.0.0);
            (
                name.eq_ignore_ascii_case("localhost")
                    || name.parse::<Ipv4Addr>().is_ok()
                    || names.iter().any(is_ours),
                port,
            )
        }
    };
    is_it
        && (port.is_empty()
            || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
}

fn text(headers: &HeaderMap, name: impl axum::http::header::AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether what is asked for comes of a page from here, or of no page at all. Browsers say where from; what says nothing is none.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    match headers.get(ORIGIN) {
        None => true,
        Some(_) => {
            let origin = text(headers, ORIGIN).unwrap_or_default();
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            match (host, text(headers, HOST)) {
                (Some(origin), Some(host)) => origin.eq_ignore_ascii_case(host),
                _ => false,
            }
        }
    }
}

/// The address that asks. What a proxy of the configuration adds at the end of `X-Forwarded-For` is the one that it saw; what others say counts for
/// nothing.
pub(super) fn address(request: &Request, config: &DashboardConfig) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.0.ip());
    let lines = request.headers().get_all("x-forwarded-for");
    let lines: Vec<&str> = lines.iter().map(|line| line.to_str().unwrap_or_default()).collect();
    behind(peer, &lines, config)
}

fn behind(peer: IpAddr, forwarded: &[&str], config: &DashboardConfig) -> IpAddr {
    let mut address = peer;
    let mut before = forwarded.iter().rev().flat_map(|line| line.rsplit(','));
    while config.is_proxy(address) {
        match before.next().and_then(|before| before.trim().parse::<IpAddr>().ok()) {
            Some(before) => address = before,
            None => break,
        }
    }
    address
}

/// Refuses who asks for another host; has browsers load nothing but what is served here.
pub(super) async fn guard(State(board): State<Board>, request: Request, next: Next) -> Response {
    let config = board.config();
    let config = &config.dashboard;
    let mut response = match text(request.headers(), HOST) {
        Some(host) if is_here(host, &config.hosts) => next.run(request).await,
        _ => (
            StatusCode::MISDIRECTED_REQUEST,
            "nobody is known here by this name: ask for localhost, for an address by number, or for a name of `dashboard.hosts`\n",
        )
            .into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if config.tls.is_some() {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_here() {
        let names = [Text(HostName("backups.example".into()))];
        for host in [
            "localhost",
            "LocalHost:8420",
            "127.0.0.1:8420",
            "[::1]:8420",
            "10.1.2.3",
            "Backups.example:443",
        ] {
            assert!(is_here(host, &names), "{host}");
        }
        assert!(!is_here("backups.example", &[]));
        for host in [
            "",
            "evil.example",
            "evil.example:8420",
            "localhost.evil.example",
            "backups.example.evil.example",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "[::1]:evil",
            "localhost:",
            "localhost:80:80",
            "user@localhost",
            "a b",
        ] {
            assert!(!is_here(host, &names), "{host}");
        }
    }

    #[test]
    fn only_proxies_are_believed_who_asks() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let with = |proxies: &str, behind_https| {
            let text = format!("[dashboard]\nproxies = [{proxies}]\nbehind_https = {behind_https}");
            crate::config::parse(&text).unwrap().dashboard
        };
        let proxies = with("'10.1.0.0/16', '192.0.2.7'", true);
        for (peer, forwarded, found) in [
            ("127.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
            ("::ffff:127.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.1.2.3", &["203.0.113.9, 10.1.9.9"], "203.0.113.9"),
            ("192.0.2.7", &["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
            ("192.0.2.7", &["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            ("192.0.2.7", &[], "192.0.2.7"),
            ("192.0.2.7", &["nobody"], "192.0.2.7"),
            ("192.0.2.8", &["203.0.113.9"], "192.0.2.8"),
            ("10.2.0.1", &["203.0.113.9"], "10.2.0.1"),
        ] {
            assert_eq!(behind(address(peer), forwarded, &proxies), address(found), "{peer}");
        }
        let alone = with("'192.0.2.7'", false);
        assert_eq!(behind(address("127.0.0.1"), &["203.0.113.9"], &alone), address("127.0.0.1"));
    }

    #[test]
    fn pages_from_elsewhere_are_known() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (axum::http::HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            pairs.iter().map(pair).collect()
        };
        let here = ("host", "localhost:8420");
        assert!(is_from_here(&headers(&[here])));
        assert!(is_from_here(&headers(&[here, ("origin", "http://localhost:8420")])));
        assert!(is_from_here(&headers(&[here, ("sec-fetch-site", "same-origin")])));
        for elsewhere in [
            ("origin", "null"),
            ("origin", "http://localhost:8421"),
            ("origin", "http://localhost:8420.evil.example"),
            ("origin", "localhost:8420"),
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!is_from_here(&headers(&[here, elsewhere])), "{elsewhere:?}");
        }
        let both = [here, ("origin", "http://localhost:8420"), ("sec-fetch-site", "cross-site")];
        assert!(!is_from_here(&headers(&both)));
    }
}
