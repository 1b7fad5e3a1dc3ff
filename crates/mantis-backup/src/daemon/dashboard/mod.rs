//! The page that the daemon serves, and the interface that it stands on.
//!
//! Both only show: nothing can be changed through them, and so nobody has to log in. They are served on the loopback alone, to whoever
//! asks for it by that name, so that a page from elsewhere cannot have a browser ask in its place.
//!
//! - [`api`]: `/api/v1`, JSON, described at `/api/v1/openapi.json`;
//! - [`pages`]: what people look at, made of the same facts;
//! - [`facts`]: those facts; [`gather`] puts them together from the configuration, what the daemon keeps, and what
//!   [`catalogues`] sees in the repositories;
//! - [`charts`]: strips and calendars as SVG;
//! - [`guard`]: who is answered, and what a browser may do with the answer.

mod api;
mod board;
mod catalogues;
mod charts;
mod facts;
mod gather;
mod guard;
mod pages;
mod words;

pub(super) use board::Board;

/// Everything that is shown.
pub(super) fn routes(board: Board) -> axum::Router {
    let routes = pages::routes().nest("/api/v1", api::routes()).with_state(board);
    routes.layer(axum::middleware::from_fn(guard::guard))
}
