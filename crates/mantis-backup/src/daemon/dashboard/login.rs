//! Logging in and out.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Form, Query, State};
use axum::http::header::{LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::visitor::Visitor;
use super::{Board, gate, pages};
use crate::Error;
use crate::access::PasswordHash;
use crate::config::DashboardConfig;

/// Who is no user takes as long as who has the wrong password: by a hash that nobody knows the password of.
static NOBODY: LazyLock<Option<PasswordHash>> = LazyLock::new(|| {
    let password = crate::access::unguessable().ok()?;
    PasswordHash::of(password.as_bytes()).ok()
});

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    visitor: Visitor,
    next: String,
    user: String,
    error: String,
}

/// Where to go after the login.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Next {
    next: String,
}

/// What is typed.
#[derive(Deserialize)]
struct Typed {
    user: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// A place on these pages; the front where it is none: nobody is led elsewhere by an address.
pub(super) fn place(next: &str) -> &str {
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_plain && next.starts_with('/') && !next.starts_with("//") { next } else { "/" }
}

pub(super) fn to(place: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, place.to_owned())]).into_response()
}

async fn form(
    Extension(visitor): Extension<Visitor>,
    State(board): State<Board>,
    Query(Next { next }): Query<Next>,
) -> Response {
    if visitor.user.is_some() || board.config().dashboard.users.is_empty() {
        return to(place(&next));
    }
    let (user, error) = (String::new(), String::new());
    pages::page(Ok(LoginPage { visitor, next, user, error }))
}

fn cookie(config: &DashboardConfig, id: &str, seconds: u64) -> String {
    let secure = if config.is_secure() { "; Secure" } else { "" };
    let name = gate::cookie_name(config);
    format!("{name}={id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")
}

/// Whether the password is the user's: its hash, if so. One after the other, on threads that may block.
async fn check(
    board: &Board,
    config: &DashboardConfig,
    user: &str,
    password: Zeroizing<String>,
) -> Result<Option<PasswordHash>, Error> {
    let known = config.users.get(user).and_then(|user| user.password_hash.as_ref());
    let known = known.map(|hash| hash.0.clone());
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Other {
        doing: "check a password".into(),
        source,
        help: None,
    };
    let turn = Arc::clone(&board.logins).acquire_owned().await;
    let turn = turn.map_err(|error| failed(error.into()))?;
    let checked = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        match known {
            Some(hash) => hash.is_of(password.as_bytes()).then_some(hash),
            None => {
                let _ = NOBODY.as_ref().is_some_and(|hash| hash.is_of(password.as_bytes()));
                None
            }
        }
    });
    checked.await.map_err(|error| failed(error.into()))
}

fn wait_first(page: LoginPage, left: Duration) -> Response {
    let seconds = left.as_secs().max(1);
    let error = format!("That was wrong too often. Try again in {seconds} s.");
    let mut response = pages::page(Ok(LoginPage { error, ..page }));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

async fn log_in(
    Extension(visitor): Extension<Visitor>,
    State(board): State<Board>,
    Form(typed): Form<Typed>,
) -> Response {
    let config = board.config();
    let config = &config.dashboard;
    // Whoever is logged in as another is not who logs in now.
    let mut visitor = Visitor::from(visitor.from);
    visitor.user = Some(typed.user.clone());
    let page = LoginPage {
        visitor: Visitor::from(visitor.from.clone()),
        next: typed.next.clone(),
        user: typed.user.clone(),
        error: String::new(),
    };
    let address: Option<IpAddr> = visitor.from.parse().ok();
    let address = address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    if let Err(left) = board.throttle.admit(address, &typed.user, Instant::now()) {
        return wait_first(page, left);
    }
    let checked = check(&board, config, &typed.user, Zeroizing::new(typed.password)).await;
    let is_right = matches!(checked, Ok(Some(_)));
    let wrong = (!is_right).then_some("a wrong name or password");
    if let Err(error) = board.audit.note(&visitor, ("login", ""), wrong).await {
        return pages::failed(&page.visitor, &error);
    }
    let hash = match checked {
        Ok(Some(hash)) => hash,
        Ok(None) => {
            let error = "This name and this password do not belong together.".to_owned();
            let mut response = pages::page(Ok(LoginPage { error, ..page }));
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            return response;
        }
        Err(error) => return pages::failed(&page.visitor, &error),
    };
    board.throttle.forgive(address, &typed.user);
    let lasts = config.session_timeout.0;
    match board.sessions.begin(&typed.user, &hash, lasts) {
        Ok(id) => {
            let mut response = to(place(&typed.next));
            if let Ok(cookie) = cookie(config, &id, lasts.as_secs()).parse() {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
        Err(error) => pages::failed(&page.visitor, &error),
    }
}

async fn log_out(
    Extension(visitor): Extension<Visitor>,
    State(board): State<Board>,
    headers: HeaderMap,
) -> Response {
    let config = board.config();
    let config = &config.dashboard;
    if let Some(id) = gate::session_id(&headers, config) {
        board.sessions.end(id);
    }
    // The session has ended whether that is noted or not.
    if let Err(error) = board.audit.note(&visitor, ("logout", ""), None).await {
        tracing::error!(error = %error.chain(), "a logout is not noted");
    }
    let mut response = to("/login");
    if let Ok(cookie) = cookie(config, "", 0).parse() {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

pub(super) fn routes() -> Router<Board> {
    Router::new().route("/login", get(form).post(log_in)).route("/logout", post(log_out))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn nobody_is_led_elsewhere() {
        for next in ["/", "/backups?source=a%20b&tag=x", "/restore/1"] {
            assert_eq!(place(next), next);
        }
        for next in [
            "",
            "backups",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nX: y",
            "/ä",
        ] {
            assert_eq!(place(next), "/", "{next:?}");
        }
    }
}
