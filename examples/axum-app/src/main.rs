//! A shop. Orders are posted over HTTP, and all clients that watch an item receive them at once.
//!
//! ```sh
//! cargo run -p axum-app
//! curl -X POST 127.0.0.1:3000/orders -H 'content-type: application/json' -d '{"item":"tea","count":2}'
//! ```
//!
//! ```js
//! const socket = io("http://127.0.0.1:3000");
//! const orders = await socket.emitWithAck("watch", "tea");
//! socket.on("ordered", (order) => console.log(order));
//! ```

use std::{io, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
    serve::ListenerExt,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use socketio::{Ack, ConnectError, Handshake, JoinError, Namespace, Server, Socket, TypedEvent};
use tokio::net::TcpListener;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    item: String,
    count: u32,
}

const ORDERED: TypedEvent<Order> = TypedEvent::new("ordered");

/// The state shared by HTTP handlers and sockets.
#[derive(Default)]
struct Shop {
    orders: Mutex<Vec<Order>>,
}

/// Subscribes a socket to the orders of an item, and acknowledges with the existing orders.
async fn watch(socket: Socket<Arc<Shop>>, item: String) -> Result<Ack<Vec<Order>>, JoinError> {
    socket.join(&item)?;
    let orders = socket.data().orders.lock();
    Ok(Ack(orders.iter().filter(|order| order.item == item).cloned().collect()))
}

/// Adds an order. The HTTP handler emits through a clone of the server.
async fn order(State((shop, io)): State<(Arc<Shop>, Server)>, Json(order): Json<Order>) -> StatusCode {
    shop.orders.lock().push(order.clone());
    match io.to(&order.item).emit(ORDERED, &order) {
        Ok(()) => StatusCode::CREATED,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn app() -> (Router, Server) {
    let shop = Arc::new(Shop::default());
    let state = Arc::clone(&shop);
    // Each socket has a handle to the shop as its data.
    let watchers =
        Namespace::with_auth("/", async move |_: Handshake| Ok::<_, ConnectError>(state)).on("watch", watch);
    let io = Server::new().namespace(watchers);
    let router = Router::new()
        .route("/orders", post(order))
        .route("/", get("POST /orders, or connect with Socket.IO"))
        .route_service("/socket.io/", io.clone())
        .with_state((shop, io.clone()));
    (router, io)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    // Disables Nagle's algorithm, so that small packets are sent without delay.
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    axum::serve(listener, app().0).await
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use socketio::testing::TestServer;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn watchers_see_orders_that_come_over_http() {
        let (router, io) = app();
        let server = TestServer::new(io);
        let mut ann = server.connect("/").await;
        let mut bob = server.connect("/").await;
        let orders: Vec<Order> = ann.emit_with_ack("watch", "tea").await.unwrap();
        assert_eq!(orders, []);
        let _: Vec<Order> = bob.emit_with_ack("watch", "coffee").await.unwrap();

        for (item, count) in [("tea", 2), ("coffee", 1)] {
            let body = format!(r#"{{"item":"{item}","count":{count}}}"#);
            let request = Request::post("/orders").header("content-type", "application/json");
            let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
            assert_eq!(response.status(), StatusCode::CREATED);
        }
        assert_eq!(ann.expect(ORDERED).await, Order { item: "tea".into(), count: 2 });
        assert_eq!(bob.expect(ORDERED).await, Order { item: "coffee".into(), count: 1 });
        let orders: Vec<Order> = ann.emit_with_ack("watch", "tea").await.unwrap();
        assert_eq!(orders.len(), 1);
    }
}
