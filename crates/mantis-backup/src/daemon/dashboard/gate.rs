//! Who may come in, and what for. Everything passes here, and whatever changes something is refused unless all is right: no page can forget
//! to ask.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Form, FromRequest, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::visitor::Visitor;
use super::{Board, api, guard, login, pages, show};
use crate::config::DashboardConfig;

/// Nothing that is sent here is longer.
const LONGEST: usize = 64 << 10;
/// What scripts and programs send a session's token in.
const CSRF: &str = "x-csrf-token";
/// What is at an address that others reach while nobody can log in.
const CLOSED: &str = "\nThe dashboard is shown on the loopback alone until [dashboard.users.NAME] says who may log in: listen at 127.0.0.1\nand reach it by `ssh -L`, or make a user with `mantis config password`.\n";

/// What stands before the pages.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) board: Board,
    /// Nobody but this machine reaches the address that is listened at.
    pub(super) is_loopback: bool,
}

/// The name of the cookie that holds a session's id.
pub(super) const fn cookie_name(config: &DashboardConfig) -> &'static str {
    // A cookie of this name is taken by browsers over HTTPS alone, and from no other host.
    if config.is_secure() { "__Host-mantis" } else { "mantis" }
}

/// The id of the session that a browser sends.
pub(super) fn session_id<'a>(headers: &'a HeaderMap, config: &DashboardConfig) -> Option<&'a str> {
    let name = cookie_name(config);
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';'));
    cookies.find_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='))
}

/// How somebody is known.
enum Known {
    /// By a token that no browser sends by itself.
    ByToken(Visitor),
    /// By a cookie, which a browser sends whoever asks it to.
    ByCookie(Visitor),
    Not,
}

fn identify(board: &Board, headers: &HeaderMap, from: &str) -> Known {
    let config = board.config();
    let config = &config.dashboard;
    if let Some(bearer) = headers.get(AUTHORIZATION) {
        let token = bearer.to_str().ok().and_then(|bearer| bearer.strip_prefix("Bearer "));
        let token = token.unwrap_or_default().trim();
        let is_its = |user: &crate::config::UserConfig| {
            user.token_hash.as_ref().is_some_and(|hash| hash.0.is_of(token))
        };
        // Who shows a wrong token is not let in by a cookie instead.
        return match config.users.iter().find(|(_, user)| is_its(user)) {
            Some((name, user)) => {
                Known::ByToken(Visitor::user(name, user.role, String::new(), from.to_owned()))
            }
            None => Known::Not,
        };
    }
    match session_id(headers, config).and_then(|id| board.sessions.find(id, config, from)) {
        Some(visitor) => Known::ByCookie(visitor),
        None => Known::Not,
    }
}

/// Whether it is given to whoever asks.
fn is_open(path: &str) -> bool {
    matches!(path, "/login" | "/style.css" | "/live.js" | "/icon.svg")
}

#[derive(Deserialize)]
struct Token {
    csrf: String,
}

/// Whether what is sent carries the session's own token.
async fn carries(csrf: &str, parts: &Parts, body: &Bytes) -> bool {
    if let Some(sent) = parts.headers.get(CSRF) {
        return sent.as_bytes() == csrf.as_bytes();
    }
    let is_form = parts
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let copy = Request::from_parts(parts.clone(), Body::from(body.clone()));
    is_form
        && Form::<Token>::from_request(copy, &()).await.is_ok_and(|Form(sent)| sent.csrf == csrf)
}

/// A refusal, in the words of who asks.
fn refuse(path: &str, status: StatusCode, visitor: &Visitor, what: &str, help: &str) -> Response {
    if path.starts_with("/api/") {
        api::problem(status, what, Some(help))
    } else {
        pages::problem(status, "This is refused", visitor, what, help)
    }
}

/// Where those who are not known may log in.
fn ask_to_log_in(request: &Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/api/") {
        let help = "send `Authorization: Bearer` and a token: `mantis config token` makes one";
        let mut response =
            api::problem(StatusCode::UNAUTHORIZED, "nobody is logged in", Some(help));
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    // What was to be sent is lost: nothing is sent anew by a login.
    if !is_reading(request.method()) {
        return login::to("/login");
    }
    let whole = request.uri().path_and_query().map_or("/", |whole| whole.as_str());
    let to = match whole {
        "/" => "/login".to_owned(),
        whole => format!("/login?next={}", show::encoded(whole)),
    };
    login::to(&to)
}

/// Lets in who may come in.
pub(super) async fn gate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let board = &gate.board;
    let config = board.config();
    let config = &config.dashboard;
    let path = request.uri().path().to_owned();
    let from = guard::address(&request, config).to_string();
    if config.users.is_empty() {
        if !gate.is_loopback {
            let text = [crate::daemon::http::INDEX, CLOSED].concat();
            let status = if path == "/" { StatusCode::OK } else { StatusCode::NOT_FOUND };
            return (status, text).into_response();
        }
        let visitor = Visitor::from(from);
        if !is_reading(request.method()) {
            let help = "add a [dashboard.users.NAME]: `mantis config example` shows how";
            let what = "nobody can change anything here, as nobody can log in";
            return refuse(&path, StatusCode::FORBIDDEN, &visitor, what, help);
        }
        request.extensions_mut().insert(visitor);
        return next.run(request).await;
    }
    let known = identify(board, request.headers(), &from);
    if is_reading(request.method()) {
        let visitor = match known {
            Known::ByToken(visitor) | Known::ByCookie(visitor) => visitor,
            Known::Not if is_open(&path) => Visitor::from(from),
            Known::Not => return ask_to_log_in(&request),
        };
        request.extensions_mut().insert(visitor);
        return next.run(request).await;
    }
    change(&path, (known, from), request, next).await
}

fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Lets something through that changes something.
async fn change(
    path: &str,
    (known, from): (Known, String),
    request: Request,
    next: Next,
) -> Response {
    let elsewhere = "it comes from a page that is not this one";
    let again = "open the page again, and do it there";
    let (visitor, needs_token) = match known {
        Known::ByToken(visitor) => (visitor, false),
        Known::ByCookie(visitor) => (visitor, path != "/login"),
        Known::Not if path == "/login" => (Visitor::from(from), false),
        Known::Not => return ask_to_log_in(&request),
    };
    if !guard::is_from_here(request.headers()) {
        return refuse(path, StatusCode::FORBIDDEN, &visitor, elsewhere, again);
    }
    let is_own = matches!(path, "/login" | "/logout");
    if !is_own && !visitor.may_change() {
        let help = "an operator may: `role` of [dashboard.users.NAME]";
        let what = "you may look, and change nothing";
        return refuse(path, StatusCode::FORBIDDEN, &visitor, what, help);
    }
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST).await else {
        let what = "it is longer than anything that is sent here";
        return refuse(path, StatusCode::PAYLOAD_TOO_LARGE, &visitor, what, again);
    };
    if needs_token && !carries(&visitor.csrf, &parts, &body).await {
        return refuse(path, StatusCode::FORBIDDEN, &visitor, elsewhere, again);
    }
    parts.extensions.insert(visitor);
    next.run(Request::from_parts(parts, Body::from(body))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sessions_cookie_is_found_among_others() {
        let plain = DashboardConfig::default();
        let secure = DashboardConfig { behind_https: true, ..DashboardConfig::default() };
        let headers =
            |text: &'static str| HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(text))]);
        for (text, id, secure_id) in [
            ("mantis=abc", Some("abc"), None),
            ("a=b; mantis=abc ; c=d", Some("abc"), None),
            ("mantisx=abc; xmantis=abc", None, None),
            ("__Host-mantis=abc", None, Some("abc")),
            ("", None, None),
        ] {
            assert_eq!(session_id(&headers(text), &plain), id, "{text}");
            assert_eq!(session_id(&headers(text), &secure), secure_id, "{text}");
        }
    }
}
