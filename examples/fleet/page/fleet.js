// The page sends `say`, `wave` and `report`, and receives `people`, `said` and `waved`. Text from users is always set
// through `textContent`.

const NAMES = ["Ann", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ida", "Jon"];
const RECONNECT = 1_000; // Milliseconds until the page tries the next server.

const byId = (id) => document.getElementById(id);
const ui = Object.fromEntries(["me", "redis", "missing", "servers", "log", "say", "text", "report"].map((id) => [id, byId(id)]));

// `?name=Ann` selects a name.
const name = new URLSearchParams(location.search).get("name") ?? NAMES[Math.floor(Math.random() * NAMES.length)];
const servers = await (await fetch("/servers.json")).json();
const own = servers.findIndex(([, url]) => new URL(url).port === location.port);
let socket;
let shown = ""; // The list on the page, as JSON.

/** Connects to a server, and to the next one if it does not respond. A load balancer would do that. */
function connect(index) {
  const [server, url] = servers[index];
  ui.me.textContent = `${name}, connecting to server ${server}`;
  socket = io(url, { auth: { name }, reconnection: false, forceNew: true });
  const next = () => setTimeout(connect, RECONNECT, (index + 1) % servers.length);
  socket.on("connect", () => {
    ui.me.textContent = `${name}, on server ${server}`;
    note(`You are on server ${server}.`);
  });
  socket.on("connect_error", next);
  socket.on("disconnect", (reason) => {
    note(`Server ${server} is gone (${reason}).`);
    next();
  });
  socket.on("people", show);
  socket.on("said", ({ from, server, text }) => note(text, `${from} on ${server}`));
  socket.on("waved", (from, server) => note(`${from} on server ${server} waves to you.`));
}

function show(state) {
  // The page receives the list every two seconds, although it rarely changes.
  const json = JSON.stringify([socket.id, state]);
  if (json === shown) return;
  shown = json;
  const { people, missing, is_connected: isConnected } = state;
  ui.redis.textContent = isConnected ? "Redis is connected" : "Redis is away";
  ui.redis.dataset.connected = isConnected;
  ui.missing.hidden = missing === 0;
  ui.missing.textContent = isConnected
    ? `The list is incomplete: no response from ${missing} of the servers.`
    : "The list has the people of your server only.";
  const columns = servers.map(([server, url]) => {
    const here = people.filter((person) => person.server === server).sort((a, b) => a.name.localeCompare(b.name));
    const heading = element("h2", `Server ${server}`, element("span", String(here.length)));
    const open = Object.assign(element("a", "Open a page here"), { href: url, target: "_blank" });
    return element("article", heading, element("ul", ...here.map(person)), open);
  });
  ui.servers.replaceChildren(...columns);
}

function person({ id, name }) {
  const isMe = id === socket.id;
  const wave = element("button", isMe ? "you" : "wave");
  wave.disabled = isMe;
  wave.addEventListener("click", () => socket.emit("wave", id));
  return element("li", element("bdi", name), wave);
}

function note(text, from) {
  const line = element("p", ...(from ? [element("b", from), " "] : []), text);
  line.className = from ? "" : "note";
  ui.log.append(line);
  line.scrollIntoView();
}

function element(tag, ...children) {
  const created = document.createElement(tag);
  created.append(...children);
  return created;
}

ui.say.addEventListener("submit", (event) => {
  event.preventDefault();
  if (ui.text.value.trim()) socket.emit("say", ui.text.value.trim());
  ui.text.value = "";
});
ui.report.addEventListener("click", async () => {
  try {
    const { reports, missing } = await socket.timeout(5_000).emitWithAck("report");
    const up = reports.map(({ server, process, seconds }) => `${server}: process ${process}, ${seconds} s`);
    note(up.join(" · ") + (missing ? ` · ${missing} did not respond` : ""));
  } catch (error) {
    note(error.message);
  }
});

connect(own);
