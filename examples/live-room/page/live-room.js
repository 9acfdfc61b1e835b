// The page of the live room. Everything that viewers write is shown as text, never as markup.
import { fly, rise } from "/stage.js";

const $ = (id) => document.querySelector(`#${id}`);
const list = $("comments");
/** Older comments leave the page. */
const MAX_SHOWN = 150;
/** Two minutes of the chart. */
const MAX_POINTS = 120;
const key = location.hash.slice(1);
let socket;
let me;
let likes = 0;
let sent = [];

function enter() {
  $("name").value = localStorage.getItem("name") ?? "";
  $("enter").showModal();
  $("enter").addEventListener("cancel", (event) => event.preventDefault());
  $("join").addEventListener("submit", (event) => {
    event.preventDefault();
    $("refusal").textContent = "";
    localStorage.setItem("name", $("name").value);
    socket?.disconnect();
    connect($("name").value);
  });
}

function connect(name) {
  socket = io({ auth: { name, key } });
  socket.on("connect_error", (error) => {
    // The socket reconnects by itself, except if the server has refused it.
    if (socket.active) setConnected(false);
    else $("refusal").textContent = error.message;
  });
  socket.on("connect", () => {
    $("enter").close();
    setConnected(true);
    if ($("open-panel").ariaPressed === "true") socket.emit("panel");
  });
  socket.on("disconnect", () => setConnected(false));
  socket.on("welcome", welcome);
  socket.on("comments", ({ comments, skipped }) => show(comments, skipped));
  socket.on("counts", counts);
  socket.on("pinned", pin);
  socket.on("muted", (viewer) => list.querySelectorAll(`[data-by="${Number(viewer)}"]`).forEach((item) => item.remove()));
  socket.on("slow mode", slowMode);
  socket.on("closed", closed);
  socket.on("panel", panel);
}

function setConnected(isConnected) {
  for (const id of ["text", "send", "like"]) $(id).disabled = !isConnected;
  notify(isConnected ? "" : "Connecting again …");
}

function welcome(room) {
  me = room;
  list.replaceChildren();
  show(room.recent, 0, false);
  likes = room.likes;
  counts(room.viewers, room.likes);
  pin(room.pinned);
  slowMode(room.slow_mode);
  closed(room.is_closed);
  $("host").hidden = !room.is_host;
}

function notify(text) {
  $("notice").textContent = text;
}

function counts(viewers, total) {
  $("viewers").textContent = viewers.toLocaleString("en");
  $("likes").textContent = total.toLocaleString("en");
  if (total > likes) rise(total - likes);
  likes = total;
}

function show(comments, skipped, isNew = true) {
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  for (const comment of comments) {
    list.append(item(comment));
    if (isNew) fly(comment.text, comment.is_host);
  }
  if (skipped > 0) {
    const more = document.createElement("li");
    more.className = "skipped";
    more.textContent = `and ${skipped} more`;
    list.append(more);
  }
  while (list.childElementCount > MAX_SHOWN) list.firstChild.remove();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

function item({ id, by, name, text, is_host }) {
  const element = document.createElement("li");
  element.dataset.by = by;
  element.classList.toggle("host", is_host);
  element.classList.toggle("mine", by === me?.id);
  const author = document.createElement("b");
  author.textContent = name;
  if (me?.is_host) {
    element.append(action("Pin", () => ask("pin", id)));
    if (!is_host) element.append(action("Mute", () => ask("mute", by)));
  }
  element.append(author, text);
  return element;
}

function action(label, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", act);
  return button;
}

function pin(comment) {
  $("pinned").hidden = !comment;
  $("pinned").querySelector("p").textContent = comment ? `${comment.name}: ${comment.text}` : "";
}

function slowMode(seconds) {
  $("slow").value = String(seconds);
  $("text").placeholder = seconds > 0 ? `Slow mode: a comment every ${seconds} s` : "Say something";
}

function closed(isClosed) {
  $("live").textContent = isClosed ? "ENDED" : "LIVE";
  $("live").classList.toggle("off", isClosed);
  $("close").ariaPressed = String(isClosed);
  $("close").textContent = isClosed ? "Open the room" : "Close the room";
}

/** Emits an event, and shows its error. Resolves to whether there was none. */
async function ask(...event) {
  try {
    const answer = await socket.timeout(10_000).emitWithAck(...event);
    notify(answer?.error ?? "");
    return !answer?.error;
  } catch {
    notify("The server did not answer.");
    return false;
  }
}

function panel(figures) {
  const number = (value) => Math.round(value).toLocaleString("en");
  $("p-connections").textContent = number(figures.connections);
  $("p-sent").textContent = number(figures.sent_per_second);
  $("p-received").textContent = number(figures.received_per_second);
  $("p-cpu").textContent = figures.cpu === null ? "–" : `${(figures.cpu * 100).toFixed(0)} %`;
  $("p-memory").textContent = figures.memory === null ? "–" : `${number(figures.memory / 2 ** 20)} MiB`;
  const { p50, p99 } = figures.latency;
  $("p-latency").textContent = p99 > 0 ? `${p50.toFixed(1)} / ${p99.toFixed(1)} ms` : "–";
  sent = [...sent, figures.sent_per_second].slice(-MAX_POINTS);
  const max = Math.max(1, ...sent);
  const points = sent.map((value, index) => `${120 - sent.length + index},${31 - (value / max) * 29}`);
  $("p-chart").firstElementChild.setAttribute("points", points.join(" "));
}

$("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (!text.trim()) return;
  $("text").value = "";
  if (!(await ask("comment", text)) && !$("text").value) $("text").value = text;
});
$("like").addEventListener("click", () => {
  rise(1);
  socket.volatile.emit("like");
});
$("open-panel").addEventListener("click", () => {
  const isOpen = $("panel").hidden;
  $("panel").hidden = !isOpen;
  $("open-panel").ariaPressed = String(isOpen);
  socket?.emit(isOpen ? "panel" : "close panel");
});
$("slow").addEventListener("change", () => ask("slow mode", Number($("slow").value)));
$("unpin").addEventListener("click", () => ask("pin", null));
$("close").addEventListener("click", () => ask("close", $("close").ariaPressed !== "true"));
enter();
