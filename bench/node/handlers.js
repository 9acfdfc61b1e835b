// The handlers of the peers in JavaScript.
module.exports = (io) =>
  io.on("connection", (socket) => {
    socket.join("r");
    socket.on("echo", (value) => socket.emit("echo", value));
    socket.on("echo-bin", (attachment) => socket.emit("echo-bin", attachment));
    socket.on("ack", (value, acknowledge) => acknowledge(value));
    socket.on("publish", (value) => io.to("r").emit("news", value));
    socket.on("publish-to", (room, value) => io.to(room).emit("news", value));
    socket.on("join", (room, acknowledge) => {
      socket.join(room);
      acknowledge();
    });
    socket.on("leave", (room, acknowledge) => {
      socket.leave(room);
      acknowledge();
    });
  });
