//! The page that the daemon serves, and the interface that it stands on.
//!
//! Without users in the configuration both only show, to whoever asks on the loopback. With users somebody has to log in, and operators
//! may run, cancel, pause and restore.
//!
//! - [`guard`]: which host is answered for, and what a browser may do with the answer;
//! - [`gate`]: who comes in, and what for: sessions, tokens, roles, and no page from elsewhere in a user's name;
//! - [`login`] begins [`sessions`], [`throttle`] keeps passwords from being tried; [`visitor`] is who asks;
//! - [`api`]: `/api/v1`, JSON, described at `/api/v1/openapi.json`;
//! - [`pages`]: what people look at, made of the same facts; [`show`] writes their numbers and times, [`charts`] draws;
//! - [`facts`]: those facts; [`gather`] puts them together from the configuration, what the daemon keeps, and what
//!   [`catalogues`] sees in the repositories;
//! - [`live`]: what runs, told while it does;
//! - [`retention`]: what [`rules`] would keep; [`backup_page`]: one backup; [`repository_page`]: one repository; [`heat`]: which pages change how often; [`fleet_page`]: daemons that share
//!   databases; [`settings`]: the configuration; [`work`] is what
//!   a page waits for;
//! - [`actions`]: what operators have the daemon do; [`editor`] changes schedules, [`edits`] does it for programs, both by [`config_file`]; [`wizard`] leads to [`restores`]; [`audit`] notes all of it.

mod actions;
mod api;
mod audit;
mod backup_page;
mod board;
mod catalogues;
mod charts;
mod config_file;
mod editor;
mod edits;
mod facts;
mod filter;
mod fleet_page;
mod gate;
mod gather;
mod guard;
mod heat;
mod live;
mod login;
mod moments;
mod pages;
mod repository_page;
mod restores;
mod retention;
mod rules;
mod sessions;
mod settings;
mod show;
mod standing;
mod throttle;
mod visitor;
mod wizard;
mod words;
mod work;

use axum::middleware::from_fn_with_state;

pub(super) use board::Board;

/// Everything that is shown and done. Where others than this machine reach the address, nothing is while nobody can log in.
pub(super) fn routes(board: Board, is_loopback: bool) -> axum::Router {
    let gate = gate::Gate { board: board.clone(), is_loopback };
    pages::routes()
        .merge(login::routes())
        .merge(actions::routes())
        .merge(editor::routes())
        .merge(wizard::routes())
        .merge(live::routes())
        .merge(backup_page::routes())
        .merge(retention::routes())
        .merge(repository_page::routes())
        .merge(heat::routes())
        .merge(fleet_page::routes())
        .merge(settings::routes())
        .nest("/api/v1", api::routes())
        .with_state(board.clone())
        .layer(from_fn_with_state(gate, gate::gate))
        .layer(from_fn_with_state(board, guard::guard))
}
