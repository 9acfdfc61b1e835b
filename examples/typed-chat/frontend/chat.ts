// The page. Both interfaces are generated from the server, so unknown event names and wrong argument types are compile errors.
import { io, type Socket } from "socket.io-client";
import type { ClientToServerEvents, ServerToClientEvents } from "./events.js";

const element = (id: string) => document.getElementById(id)!;
const input = element("text") as HTMLInputElement;

const name = prompt("Your name?") ?? "somebody";
const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io({ auth: { name }, ackTimeout: 5_000 });

socket.on("said", ({ from, text }) => {
  const line = document.createElement("li");
  line.textContent = `${from}: ${text}`;
  element("messages").append(line);
});

socket.on("is-typing", (who) => {
  element("hint").textContent = `${who} is typing`;
});

input.addEventListener("input", () => socket.volatile.emit("typing"));

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  // `socket.timeout(..).emitWithAck` works as well, but the types of the client lose the type of the acknowledgement.
  const answer = await socket.emitWithAck("say", input.value).catch(() => ({ error: "No answer." }));
  if (typeof answer === "number") input.value = "";
  element("hint").textContent = typeof answer === "number" ? `${answer} characters sent` : answer.error;
});
