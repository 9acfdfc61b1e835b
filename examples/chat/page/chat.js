// The page sends three events: `join`, `say` and `typing`, the first two with an acknowledgement. It receives six: `room` (the
// state of the joined room), `said`, `joined`, `left`, `is_typing` and `rooms`. Text from users is always set through
// `textContent`.

const LOG_LENGTH = 500; // Maximum number of entries kept in the page.
const ANSWER_TIME = 8_000; // Acknowledgement timeout in milliseconds.
const TYPING_EVERY = 2_000; // Minimum time between two typing hints, in milliseconds.
const TYPING_SEEN = 3_500; // Time for which a typing hint is shown, in milliseconds.
const GROUP_TIME = 180_000; // Messages of one author within this many milliseconds form a group.

const byId = (id) => document.getElementById(id);
const ui = {
  welcome: byId("welcome"), enter: byId("enter"), nickname: byId("nickname"), firstRoom: byId("first-room"), refusal: byId("refusal"), join: byId("join"),
  chat: byId("chat"), side: byId("side"), shade: byId("shade"), room: byId("room"), openSide: byId("open-side"), closeSide: byId("close-side"),
  rooms: byId("rooms"), openRoom: byId("open-room"), newRoom: byId("new-room"), members: byId("members"), myAvatar: byId("my-avatar"), myName: byId("my-name"),
  transport: byId("transport"), leave: byId("leave"), roomName: byId("room-name"), roomPeople: byId("room-people"), share: byId("share"),
  banner: byId("banner"), bannerText: byId("banner-text"), log: byId("log"), toEnd: byId("to-end"), typing: byId("typing"),
  say: byId("say"), text: byId("text"), toast: byId("toast"),
};

if (!globalThis.io) {
  ui.refusal.textContent = "The client library /socket.io/socket.io.js could not be loaded.";
  throw new Error("no Socket.IO client");
}

const socket = io({ autoConnect: false });
let nickname = ""; // Own nickname.
let wanted = ""; // The requested room.
let room = null; // The joined room, `null` before the first `room` event.
let members = new Map(); // Members of the joined room: socket id -> nickname.
let lastId = 0; // Id of the newest message shown.
const typing = new Map(); // nickname -> timer that removes the hint
const unsent = new Map(); // Own messages without an acknowledgement: key -> { room, key, text, item }
const mine = new Set(recall("mine", sessionStorage)); // Ids of own messages, to recognize them in a history.

// ---- Helpers ----

function recall(name, storage) {
  try {
    return JSON.parse(storage.getItem(`chat.${name}`)) ?? [];
  } catch {
    return []; // Storage may be disabled; the chat works without it.
  }
}

function remember(name, value, storage) {
  try {
    storage.setItem(`chat.${name}`, JSON.stringify(value));
  } catch {
    // Storage may be disabled.
  }
}

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...content);
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

function hue(name) {
  let sum = 7;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) % 65_521;
  return sum * 137.5 % 360; // Multiples of the golden angle give different hues to similar names.
}

function dressAvatar(element, name) {
  const words = name.split(/\s+/u).filter(Boolean);
  element.textContent = words.slice(0, 2).map((word) => Array.from(word)[0].toUpperCase()).join("");
  element.style.setProperty("--hue", hue(name));
  return element;
}

function avatar(name) {
  const element = dressAvatar(make("span", "avatar"), name);
  element.setAttribute("aria-hidden", "true");
  return element;
}

let toastTimer;
function toast(message) {
  ui.toast.textContent = message;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { ui.toast.textContent = ""; }, 4_000);
}

function banner(message) {
  ui.bannerText.textContent = message;
  ui.banner.hidden = message === "";
  showTransport();
}

// ---- Connection ----

function enter(name, roomName) {
  nickname = name;
  wanted = roomName || "lobby";
  ui.refusal.textContent = "";
  ui.join.disabled = true;
  ui.join.textContent = "Joining…";
  socket.auth = { nickname };
  socket.connect();
}

function exit(message) {
  socket.disconnect();
  room = null;
  lastId = 0;
  unsent.clear();
  ui.log.replaceChildren();
  closeSide();
  ui.chat.hidden = true;
  ui.welcome.hidden = false;
  ui.join.disabled = false;
  ui.join.textContent = "Join";
  ui.refusal.textContent = message;
  document.title = "Chat";
  ui.nickname.focus();
}

socket.on("connect", () => {
  socket.io.engine.on("upgrade", showTransport);
  // The server does not remember the room after a reconnect, so join it again.
  joinRoom(wanted);
});

socket.on("disconnect", (reason) => {
  if (reason === "io client disconnect") return;
  if (!socket.active) return exit("The server ended the connection.");
  clearTyping();
  banner("Connection lost. Reconnecting…");
});

socket.on("connect_error", (error) => {
  if (!socket.active) return exit(error.message); // The server rejected the connection, so a retry would not help.
  if (room === null) ui.refusal.textContent = "The server cannot be reached. Trying again…";
  else banner("Connection lost. Reconnecting…");
});

function showTransport() {
  const name = socket.connected && socket.io.engine.transport.name;
  ui.transport.textContent = name || "offline";
  ui.transport.toggleAttribute("data-online", Boolean(name));
}

function joinRoom(name) {
  socket.timeout(ANSWER_TIME).emit("join", { room: name }, (error, answer) => {
    if (name !== wanted || !socket.connected) return; // Another room was requested, or the next `connect` event joins again.
    if (error) joinRoom(name);
    else if (answer?.error) refuseRoom(answer.error);
  });
}

function refuseRoom(message) {
  if (room === null) return exit(message);
  wanted = room;
  history.replaceState(null, "", hashOf(room));
  toast(message);
}

// The server sends `room` before any other event of the room. The order of an acknowledgement would not be guaranteed.
socket.on("room", (answer) => {
  const changed = room !== answer.room;
  if (changed) {
    ui.log.replaceChildren();
    lastId = 0;
  }
  room = answer.room;
  if (room === wanted && location.hash !== hashOf(room)) history.replaceState(null, "", hashOf(room));
  document.title = `#${room}`;
  ui.welcome.hidden = true;
  ui.chat.hidden = false;
  ui.roomName.textContent = room;
  ui.myName.textContent = nickname;
  dressAvatar(ui.myAvatar, nickname);
  members = new Map(answer.members.map((member) => [member.id, member.nickname]));
  clearTyping();
  showMembers();
  showRooms(answer.rooms);
  banner("");
  ui.log.setAttribute("aria-busy", "true"); // Keeps screen readers from reading out the history.
  for (const message of answer.history) if (message.id > lastId) showMessage(message);
  for (const message of unsent.values()) {
    if (message.room !== room) continue;
    if (changed) place(message.item);
    if (message.item.dataset.state === "sending") deliver(message);
  }
  ui.log.removeAttribute("aria-busy");
  if (changed) {
    toEnd();
    if (matchMedia("(hover: hover)").matches) ui.text.focus();
  }
});

// ---- Rooms and members ----

const hashOf = (name) => `#${encodeURIComponent(name)}`;

function roomOfHash() {
  try {
    return decodeURIComponent(location.hash.slice(1)).trim();
  } catch {
    return location.hash.slice(1); // The hash is not valid percent-encoding.
  }
}

function goTo(name) {
  closeSide();
  if (name === "" || name === wanted) return;
  wanted = name;
  location.hash = hashOf(name);
  if (socket.connected) joinRoom(name);
}

function showRooms(rooms) {
  const items = rooms.map(({ name, members }) => {
    const button = make("button", "", make("span", "hash", "#"), make("bdi", "", name), make("span", "count", String(members)));
    button.type = "button";
    button.setAttribute("aria-label", `${name}, ${members === 1 ? "1 person" : `${members} people`}`);
    if (name === room) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => goTo(name));
    return make("li", "", button);
  });
  ui.rooms.replaceChildren(...items);
}

function showMembers() {
  const names = [...members].sort(([, a], [, b]) => a.localeCompare(b));
  ui.members.replaceChildren(...names.map(([id, name]) => {
    const item = make("li", "", avatar(name), make("bdi", "", name));
    if (id === socket.id) item.append(make("small", "", "you"));
    return item;
  }));
  const others = names.filter(([id]) => id !== socket.id).map(([, name]) => name);
  ui.roomPeople.textContent = others.length === 0 ? "Only you are here" : `You, ${others.join(", ")}`;
}

socket.on("rooms", (rooms) => {
  if (room !== null) showRooms(rooms);
});

socket.on("joined", ({ id, nickname }) => {
  members.set(id, nickname);
  showMembers();
  notice(`${nickname} joined`);
});

socket.on("left", ({ id, nickname }) => {
  members.delete(id);
  stopTyping(nickname);
  showMembers();
  notice(`${nickname} left`);
});

socket.on("is_typing", (name) => {
  clearTimeout(typing.get(name));
  typing.set(name, setTimeout(() => stopTyping(name), TYPING_SEEN));
  showTyping();
});

function stopTyping(name) {
  clearTimeout(typing.get(name));
  typing.delete(name);
  showTyping();
}

function clearTyping() {
  for (const name of [...typing.keys()]) stopTyping(name);
}

function showTyping() {
  const names = [...typing.keys()];
  ui.typing.textContent = names.length === 0 ? ""
    : names.length === 1 ? `${names[0]} is typing…`
    : names.length === 2 ? `${names[0]} and ${names[1]} are typing…`
    : "Several people are typing…";
}

// ---- Messages ----

socket.on("said", (message) => {
  stopTyping(message.from);
  showMessage(message);
});

function messageItem({ from, text, at }) {
  const time = make("time", "");
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  time.dateTime = date.toISOString();
  time.title = date.toLocaleString();
  time.textContent = date.toLocaleString(undefined, { timeStyle: "short", ...(!today && { dateStyle: "short" }) });
  const body = make("p", "", text);
  body.dir = "auto";
  const item = make("article", "message", make("bdi", "who", from), avatar(from), make("div", "bubble", body, make("footer", "", time)));
  item.style.setProperty("--hue", hue(from));
  item.dataset.from = from;
  item.dataset.at = at;
  return item;
}

function showMessage(message) {
  const item = messageItem(message);
  item.dataset.order = message.id;
  if (mine.has(message.id)) setState(item, "sent");
  lastId = Math.max(lastId, message.id);
  place(item);
}

function notice(text) {
  const item = make("p", "notice", text);
  item.dataset.order = lastId;
  place(item);
}

// Inserts an entry in the order of the server. Messages without an acknowledgement come last.
function place(item) {
  const atEnd = isAtEnd();
  item.remove();
  let before = null;
  for (let entry = ui.log.lastElementChild; entry && Number(entry.dataset.order) > Number(item.dataset.order); entry = entry.previousElementSibling) {
    before = entry;
  }
  ui.log.insertBefore(item, before);
  while (ui.log.childElementCount > LOG_LENGTH) ui.log.firstElementChild.remove();
  for (const entry of ui.log.querySelectorAll(".message")) group(entry);
  if (atEnd) toEnd();
  else if (item.matches(".message:not(.mine)")) ui.toEnd.hidden = false;
}

// Shows the name only once for consecutive messages of one author.
function group(item) {
  const together = (a, b) => a?.dataset.from !== undefined && b?.dataset.from === a.dataset.from
    && a.classList.contains("mine") === b.classList.contains("mine") && Math.abs(b.dataset.at - a.dataset.at) < GROUP_TIME;
  item.classList.toggle("follows", together(item.previousElementSibling, item));
  item.classList.toggle("leads", together(item, item.nextElementSibling));
}

function setState(item, state) {
  const names = { sending: "Sending", sent: "Delivered", failed: "Not sent" };
  const sign = make("span", "state", icon(state));
  sign.setAttribute("role", "img");
  sign.setAttribute("aria-label", names[state]);
  item.classList.add("mine");
  item.dataset.state = state;
  item.querySelector(".state")?.remove();
  item.querySelector(".failure")?.remove();
  item.querySelector("footer").append(sign);
}

function write(text) {
  const key = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("-");
  const item = messageItem({ from: nickname, text, at: Date.now() });
  item.dataset.order = Infinity;
  setState(item, "sending");
  const message = { room, key, text, item };
  unsent.set(key, message);
  place(item);
  toEnd();
  if (socket.connected && room === wanted) deliver(message); // Otherwise the message is sent once the room is joined.
}

// Sending a message twice is safe: the server recognizes the key and responds with the same id.
function deliver(message) {
  const { room, key, text, item } = message;
  setState(item, "sending");
  socket.timeout(ANSWER_TIME).emit("say", { room, key, text }, (error, answer) => {
    if (error && !socket.connected) return; // The message is sent again after the reconnect.
    if (error || answer.error) return fail(message, error ? "The server did not answer." : answer.error);
    unsent.delete(key);
    mine.add(answer.id);
    remember("mine", [...mine].slice(-LOG_LENGTH), sessionStorage);
    // The history received after a reconnect may contain this message as well.
    for (const other of ui.log.querySelectorAll(`[data-order="${answer.id}"].message`)) if (other !== item) other.remove();
    item.dataset.order = answer.id;
    item.dataset.at = answer.at;
    lastId = Math.max(lastId, answer.id);
    setState(item, "sent");
    if (item.isConnected) place(item);
  });
}

// Marks the message as failed, and lets the user retry or remove it.
function fail(message, why) {
  const { item } = message;
  const button = (name, act) => {
    const element = make("button", "", name);
    element.type = "button";
    element.addEventListener("click", act);
    return element;
  };
  const again = button("Try again", () => {
    item.dataset.order = Infinity;
    place(item);
    deliver(message);
  });
  const remove = button("Remove", () => {
    unsent.delete(message.key);
    item.remove();
  });
  setState(item, "failed");
  item.dataset.order = lastId;
  item.append(make("div", "failure", make("span", "", why), again, remove));
}

// ---- Log ----

const isAtEnd = () => ui.log.scrollHeight - ui.log.scrollTop - ui.log.clientHeight < 80;

function toEnd() {
  ui.log.scrollTop = ui.log.scrollHeight;
  ui.toEnd.hidden = true;
}

ui.log.addEventListener("scroll", () => { if (isAtEnd()) ui.toEnd.hidden = true; }, { passive: true });
ui.toEnd.addEventListener("click", toEnd);

// When the keyboard, the banner or the text field shrinks the log, keep it scrolled to its end.
let logEnd = true;
ui.log.addEventListener("scroll", () => { logEnd = isAtEnd(); }, { passive: true });
new ResizeObserver(() => { if (logEnd) toEnd(); }).observe(ui.log);

// ---- Controls ----

ui.enter.addEventListener("submit", (event) => {
  event.preventDefault();
  remember("nickname", ui.nickname.value, localStorage);
  enter(ui.nickname.value.trim(), ui.firstRoom.value.trim());
});

let typingTold = 0;
ui.text.addEventListener("input", () => {
  fitText();
  const now = Date.now();
  if (ui.text.value.trim() === "" || now - typingTold < TYPING_EVERY) return;
  typingTold = now;
  socket.volatile.emit("typing", { room }); // Volatile, because a late hint is useless.
});

// Fallback for browsers without `field-sizing`.
function fitText() {
  if (CSS.supports("field-sizing", "content")) return;
  ui.text.style.height = "auto";
  ui.text.style.height = `${ui.text.scrollHeight + 2}px`;
}

ui.text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ui.say.requestSubmit();
});

ui.say.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = ui.text.value.trim();
  ui.text.value = "";
  typingTold = 0;
  fitText();
  ui.text.focus();
  if (text !== "") write(text);
});

ui.openRoom.addEventListener("submit", (event) => {
  event.preventDefault();
  goTo(ui.newRoom.value.trim());
  ui.newRoom.value = "";
});

ui.leave.addEventListener("click", () => exit(""));

ui.share.hidden = !navigator.clipboard; // The clipboard is available only in secure contexts.
ui.share.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    toast("Link copied");
  } catch {
    toast("The browser did not allow copying. The address of this page is the link.");
  }
});

function openSide() {
  ui.side.classList.add("open");
  ui.shade.hidden = false;
  ui.room.inert = true;
  ui.openSide.setAttribute("aria-expanded", "true");
  ui.closeSide.focus();
}

function closeSide() {
  if (!ui.side.classList.contains("open")) return;
  ui.side.classList.remove("open");
  ui.shade.hidden = true;
  ui.room.inert = false;
  ui.openSide.setAttribute("aria-expanded", "false");
  ui.openSide.focus();
}

ui.openSide.addEventListener("click", openSide);
ui.closeSide.addEventListener("click", closeSide);
ui.shade.addEventListener("click", closeSide);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeSide(); });

addEventListener("hashchange", () => {
  if (room === null) ui.firstRoom.value = roomOfHash();
  else goTo(roomOfHash());
});

// Safari shows the keyboard on top of the page and reports it only through this event. Other browsers shrink the page.
visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale !== 1) return;
  document.documentElement.style.setProperty("--seen", `${visualViewport.height}px`);
  scrollTo(0, 0);
});

ui.join.disabled = false;
ui.nickname.value = recall("nickname", localStorage).toString();
ui.firstRoom.value = roomOfHash() || "lobby";
if (matchMedia("(hover: hover)").matches) (ui.nickname.value ? ui.firstRoom : ui.nickname).focus();
