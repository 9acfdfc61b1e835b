//! What the emitters of all brokers have in common.

use std::sync::Arc;

use socketio::{
    EmitError, EventName, Room, ToArgs,
    cluster::{BroadcastFlags, EventPacket, Message, Operation, ServerId, Target},
};

/// The sender that Node.js expects of an emitter. No server has this id.
pub(crate) const EMITTER: &str = "emitter";

/// The sockets that an emitter has selected. Creates the messages about them.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent"]
pub struct Selection {
    namespace: Arc<str>,
    rooms: Vec<Room>,
    except: Vec<Room>,
    flags: BroadcastFlags,
}

impl Selection {
    /// Selects all sockets of a namespace. As in Node.js, the path may lack the slash at its beginning.
    pub fn new(path: &str) -> Self {
        let namespace = if path.starts_with('/') { path.into() } else { format!("/{path}").into() };
        Self { namespace, rooms: Vec::new(), except: Vec::new(), flags: BroadcastFlags::default() }
    }

    /// Selects the sockets in a room, in addition to those in other selected rooms.
    pub fn to(mut self, room: Room) -> Self {
        self.rooms.push(room);
        self
    }

    /// Excludes the sockets in a room.
    pub fn except(mut self, room: Room) -> Self {
        self.except.push(room);
        self
    }

    /// Lets servers drop the event for clients that are not ready.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Sets whether the event may be compressed.
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// Returns the message that sends an event to the sockets.
    ///
    /// # Errors
    ///
    /// Returns an error if the event cannot be encoded.
    pub fn event<T: ToArgs + ?Sized>(self, event: impl EventName<T>, args: &T) -> Result<Message, EmitError> {
        let (packet, flags) = (EventPacket::encode(&self.namespace, event, args)?, self.flags);
        Ok(self.message(|target| Operation::Broadcast { target, packet, flags }))
    }

    /// Returns the message that adds the sockets to rooms.
    pub fn join(self, rooms: Vec<Room>) -> Message {
        self.message(|target| Operation::Join { target, rooms })
    }

    /// Returns the message that removes the sockets from rooms.
    pub fn leave(self, rooms: Vec<Room>) -> Message {
        self.message(|target| Operation::Leave { target, rooms })
    }

    /// Returns the message that disconnects the sockets, and closes the connections of their clients if `close`
    /// is set.
    pub fn disconnect(self, close: bool) -> Message {
        self.message(|target| Operation::Disconnect { target, close })
    }

    /// Returns the message that sends an event to all servers that have the namespace.
    ///
    /// # Errors
    ///
    /// Returns an error if the event cannot be encoded.
    pub fn server_event<T: ToArgs + ?Sized>(
        self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<Message, EmitError> {
        let packet = EventPacket::encode(&self.namespace, event, args)?;
        Ok(self.message(|_| Operation::ServerEvent { request: None, packet }))
    }

    fn message(self, operation: impl FnOnce(Target) -> Operation) -> Message {
        let operation = operation(Target::new(self.rooms, self.except));
        Message { from: ServerId::from(EMITTER), namespace: self.namespace, operation }
    }
}

/// Adds the methods of an emitter, and `Debug`. The type is `Clone`, has a field `selection` of the type
/// [`Selection`] and a method `async fn send(&self, message: Message) -> Result<(), $error>`. `$error` is
/// `From<EmitError>`, and `$broker` is the name of the broker in the documentation.
#[macro_export]
macro_rules! emitter_methods {
    ($emitter:ident, $error:ident, $broker:literal) => {
        impl $emitter {
            /// Selects all sockets of a namespace. The slash at the beginning of the path may be left out. Equivalent
            /// to `emitter.of(path)` in Node.js.
            pub fn of(&self, path: &str) -> Self {
                Self { selection: $crate::Selection::new(path), ..self.clone() }
            }

            /// Selects the sockets in a room. May be called several times. Equivalent to `emitter.to(room)` in
            /// Node.js.
            pub fn to(mut self, room: impl Into<::socketio::Room>) -> Self {
                self.selection = self.selection.to(room.into());
                self
            }

            /// Excludes the sockets in a room. May be called several times. Equivalent to
            /// `emitter.except(room)` in Node.js.
            pub fn except(mut self, room: impl Into<::socketio::Room>) -> Self {
                self.selection = self.selection.except(room.into());
                self
            }

            /// Drops the event for clients that are not ready. Equivalent to `emitter.volatile` in Node.js.
            pub fn volatile(mut self) -> Self {
                self.selection = self.selection.volatile();
                self
            }

            /// Sets whether the event may be compressed. Equivalent to `emitter.compress(compress)` in Node.js.
            pub fn compress(mut self, compress: bool) -> Self {
                self.selection = self.selection.compress(compress);
                self
            }

            /// Sends an event to the selected sockets. Equivalent to `emitter.emit(event, ...)` in Node.js.
            ///
            /// # Errors
            ///
            #[doc = concat!("Returns an error if the event cannot be encoded, or if ", $broker, " has not")]
            /// confirmed it. In the second case, the event may have been sent.
            ///
            /// # Cancel safety
            ///
            /// If the future is dropped, the event may have been sent.
            pub async fn emit<T: ::socketio::ToArgs + ?Sized>(
                self,
                event: impl ::socketio::EventName<T>,
                args: &T,
            ) -> Result<(), $error> {
                self.send(self.selection.clone().event(event, args)?).await
            }

            /// Adds the selected sockets to rooms. Equivalent to `emitter.socketsJoin(rooms)` in Node.js.
            ///
            /// # Errors
            ///
            /// Returns the same errors as [`emit`](Self::emit).
            ///
            /// # Cancel safety
            ///
            /// See [`emit`](Self::emit).
            pub async fn sockets_join(
                self,
                rooms: impl IntoIterator<Item: Into<::socketio::Room>>,
            ) -> Result<(), $error> {
                let rooms = rooms.into_iter().map(Into::into).collect();
                self.send(self.selection.clone().join(rooms)).await
            }

            /// Removes the selected sockets from rooms. Equivalent to `emitter.socketsLeave(rooms)` in Node.js.
            ///
            /// # Errors
            ///
            /// Returns the same errors as [`emit`](Self::emit).
            ///
            /// # Cancel safety
            ///
            /// See [`emit`](Self::emit).
            pub async fn sockets_leave(
                self,
                rooms: impl IntoIterator<Item: Into<::socketio::Room>>,
            ) -> Result<(), $error> {
                let rooms = rooms.into_iter().map(Into::into).collect();
                self.send(self.selection.clone().leave(rooms)).await
            }

            /// Disconnects the selected sockets. The connections of their clients stay open. Equivalent to
            /// `emitter.disconnectSockets()` in Node.js.
            ///
            /// # Errors
            ///
            /// Returns the same errors as [`emit`](Self::emit).
            ///
            /// # Cancel safety
            ///
            /// See [`emit`](Self::emit).
            pub async fn disconnect_sockets(self) -> Result<(), $error> {
                self.send(self.selection.clone().disconnect(false)).await
            }

            /// Closes the connections of the clients of the selected sockets. Equivalent to
            /// `emitter.disconnectSockets(true)` in Node.js.
            ///
            /// # Errors
            ///
            /// Returns the same errors as [`emit`](Self::emit).
            ///
            /// # Cancel safety
            ///
            /// See [`emit`](Self::emit).
            pub async fn close_sockets(self) -> Result<(), $error> {
                self.send(self.selection.clone().disconnect(true)).await
            }

            /// Sends an event to all servers. Equivalent to `emitter.serverSideEmit(event, ...)` in Node.js.
            ///
            /// # Errors
            ///
            /// Returns the same errors as [`emit`](Self::emit).
            ///
            /// # Cancel safety
            ///
            /// See [`emit`](Self::emit).
            pub async fn server_side_emit<T: ::socketio::ToArgs + ?Sized>(
                self,
                event: impl ::socketio::EventName<T>,
                args: &T,
            ) -> Result<(), $error> {
                self.send(self.selection.clone().server_event(event, args)?).await
            }
        }

        impl std::fmt::Debug for $emitter {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($emitter))
                    .field("selection", &self.selection)
                    .finish_non_exhaustive()
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slash_of_a_path_may_be_left_out() {
        for (path, expected) in [("/", "/"), ("", "/"), ("/chat", "/chat"), ("chat", "/chat")] {
            let message = Selection::new(path).disconnect(false);
            assert_eq!((&*message.namespace, message.from.as_str()), (expected, EMITTER), "{path}");
        }
    }

    #[test]
    fn an_event_has_the_target_and_the_flags() {
        let selection = Selection::new("/").to("a".into()).to("b".into()).except("c".into());
        let message = selection.volatile().compress(false).event("e", &1).unwrap();
        let Operation::Broadcast { target, packet, flags } = message.operation else { panic!("no event") };
        let names = |rooms: &[Room]| rooms.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(target.rooms()), ["a", "b"]);
        assert_eq!(names(&target.except()), ["c"]);
        assert!(flags.volatile && flags.uncompressed);
        assert_eq!(packet.parts("/").0, r#"["e",1]"#);
    }

    #[test]
    fn reserved_events_are_refused() {
        let refused = Selection::new("/").event("disconnect", &1);
        assert!(matches!(refused, Err(EmitError::ReservedEvent)));
    }
}
