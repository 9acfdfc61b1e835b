//! ```sh
//! cargo run -p table-game
//! curl -c jar -X POST 127.0.0.1:3000/sign-in/Ann
//! ```

use std::{env, error::Error};

use axum::serve::ListenerExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::{net::TcpListener, signal::ctrl_c};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the address is what the program is started for")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (router, io) = table_game::app(PrometheusBuilder::new().install_recorder()?);
    tokio::spawn(table_game::give_turns(io.clone()));
    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    let closing = async move {
        if ctrl_c().await.is_ok() {
            io.close().await;
        }
    };
    Ok(axum::serve(listener, router).with_graceful_shutdown(closing).await?)
}
