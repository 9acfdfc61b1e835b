//! A shared to-do list. Every event is acknowledged.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use socketio::{Ack, EmitError, EventError, Namespace, Server, Sid, Socket};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Todo {
    id: String,
    #[serde(flatten)]
    item: Item,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Item {
    title: String,
    completed: bool,
}

/// The acknowledgement format that the frontend expects. Errors have the default format `{ error: "..." }`.
#[derive(Serialize)]
struct Data<T> {
    data: T,
}

type Todos = Arc<Mutex<BTreeMap<String, Todo>>>;

const UNKNOWN: &str = "entity not found";

async fn create(socket: Socket<Todos>, item: Item) -> Result<Ack<Data<String>>, EmitError> {
    let id = Sid::random().as_str().to_owned();
    let todo = Todo { id: id.clone(), item };
    socket.data().lock().insert(id.clone(), todo.clone());
    socket.broadcast().emit("todo:created", &todo)?;
    Ok(Ack(Data { data: id }))
}

async fn read(socket: Socket<Todos>, id: String) -> Result<Ack<Data<Todo>>, &'static str> {
    let data = socket.data().lock().get(&id).cloned().ok_or(UNKNOWN)?;
    Ok(Ack(Data { data }))
}

async fn update(socket: Socket<Todos>, todo: Todo) -> Result<(), EventError> {
    *socket.data().lock().get_mut(&todo.id).ok_or(UNKNOWN)? = todo.clone();
    Ok(socket.broadcast().emit("todo:updated", &todo)?)
}

async fn delete(socket: Socket<Todos>, id: String) -> Result<(), EventError> {
    socket.data().lock().remove(&id).ok_or(UNKNOWN)?;
    Ok(socket.broadcast().emit("todo:deleted", &id)?)
}

async fn list(socket: Socket<Todos>) -> Ack<Data<Vec<Todo>>> {
    Ack(Data { data: socket.data().lock().values().cloned().collect() })
}

pub(crate) fn server() -> Server {
    let todos = Namespace::with_data("/", Todos::default())
        .on("todo:create", create)
        .on("todo:read", read)
        .on("todo:update", update)
        .on("todo:delete", delete)
        .on_unit("todo:list", list);
    Server::new().namespace(todos)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use socketio::testing::TestServer;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_see_what_one_does() {
        let server = TestServer::new(server());
        let (ann, mut bob) = (server.connect("/").await, server.connect("/").await);
        let item = json!({ "title": "tea", "completed": false });
        let created: Value = ann.emit_with_ack("todo:create", &item).await.unwrap();
        let id = created["data"].as_str().unwrap();
        let mut todo = json!({ "id": id, "title": "tea", "completed": false });
        assert_eq!(bob.expect::<Value>("todo:created").await, todo);
        assert_eq!(bob.emit_with_ack::<Value, _>("todo:read", id).await.unwrap(), json!({ "data": todo }));

        todo["completed"] = true.into();
        let () = ann.emit_with_ack("todo:update", &todo).await.unwrap();
        assert_eq!(bob.expect::<Value>("todo:updated").await, todo);
        assert_eq!(bob.emit_with_ack::<Value, _>("todo:list", &()).await.unwrap(), json!({ "data": [todo] }));
        let () = ann.emit_with_ack("todo:delete", id).await.unwrap();
        assert_eq!(bob.expect::<String>("todo:deleted").await, id);
        for event in ["todo:read", "todo:delete"] {
            let answer: Value = ann.emit_with_ack(event, id).await.unwrap();
            assert_eq!(answer, json!({ "error": "entity not found" }));
        }
    }
}
