//! The server for tests from outside: one listener per profile, with the same namespaces and commands on
//! each.
//!
//! `PORT=3500 HOST=127.0.0.1 PROFILES=main,fast kitchen-sink`: a profile listens on `PORT` plus its index in
//! the list of all profiles. The line `ready` is printed when all of them listen.
#![expect(clippy::print_stdout, reason = "the lines tell who started the server that it may begin")]

mod ask;
mod commands;
mod namespaces;
mod profiles;
mod records;
mod rooms;
mod state;

use std::{env, error::Error};

use axum::{Router, routing::get};
use tokio::{net::TcpListener, task::JoinSet};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let host = env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let first: u16 = env::var("PORT").map_or(Ok(3500), |port| port.parse())?;
    let chosen = env::var("PROFILES").ok();
    let is_chosen =
        |name: &str| chosen.as_deref().is_none_or(|names| names.split(',').any(|each| each == name));
    let rest = Router::new().route("/health", get(async || "ok"));

    let mut servers = JoinSet::new();
    for (port, (name, config)) in (first..).zip(profiles::ALL).filter(|(_, (name, _))| is_chosen(name)) {
        let Some(config) = config else {
            println!("{name}: not yet");
            continue;
        };
        let listener = TcpListener::bind((host.as_str(), port)).await?;
        println!("{name}: http://{host}:{port}");
        servers.spawn(namespaces::server(config()).serve(listener).with_fallback(rest.clone()).into_future());
    }
    println!("ready");
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    Ok(())
}
