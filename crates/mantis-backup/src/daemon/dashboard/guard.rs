//! Who is answered, and what a browser may do with the answer.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Nothing from elsewhere, no script at all, and no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Whether it is this machine that is asked for, by number or as `localhost`. A page from elsewhere whose name was made to point here
/// ("DNS rebinding") has a browser ask for that name.
fn is_here(host: &str) -> bool {
    // An address of version 6 stands in brackets, as it has colons itself.
    let (is_it, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            (name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok(), port)
        }
    };
    is_it
        && (port.is_empty()
            || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
}

/// Refuses who asks for another host; has browsers load nothing but what is served here.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let mut response = match host {
        Some(host) if is_here(host) => next.run(request).await,
        _ => (
            StatusCode::MISDIRECTED_REQUEST,
            "this page is for this machine: ask for it as localhost, or by its address\n",
        )
            .into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_here() {
        for host in ["localhost", "LocalHost:8420", "127.0.0.1:8420", "[::1]:8420", "10.1.2.3"] {
            assert!(is_here(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8420",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "[::1]:evil",
            "localhost:",
            "localhost:80:80",
            "user@localhost",
            "a b",
        ] {
            assert!(!is_here(host), "{host}");
        }
    }
}
