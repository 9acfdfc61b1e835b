//! A server with the official Admin UI. Start it with `cargo run -p admin`, open the printed address, enter the
//! address of the server, and log in as `admin` with the password `changeit`.
//!
//! The namespace `/` has sockets to look at as soon as clients connect: any event is sent to all others, and the event
//! `join` adds a client to a room.

use std::{env, error::Error};

use socketio::{Event, Namespace, Server};
use socketio_admin::{Admin, AdminFiles, Mode};
use tokio::net::TcpListener;

/// The hash of `changeit`. A hash of your own is printed by `htpasswd -nbBC 10 admin <password>`.
const PASSWORD: &str = "$2a$10$p5rQWSO85y0YL4XoLDF/2unbr18XyL794tshXZX.lwdGBBi3EPwPq";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the address is what the program is started for")]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let chat = Namespace::new("/")
        .on("join", async |socket, room: String| socket.join(room))
        .fallback(async |socket, event: Event| socket.broadcast().emit(event.name, &event.args));
    let admin = Admin::basic_auth("admin", PASSWORD)?.mode(Mode::Development);
    let io = admin.attach(Server::new().namespace(chat));
    let ui = AdminFiles::load(client_files::fetch_admin_ui()?)?;

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("Admin UI: http://{address}/socket.io/admin/ for the server http://{address}");
    let closing = io.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            closing.close().await;
        }
    });
    Ok(io.serve(listener).with_fallback(ui).await?)
}
