// Servers behind HAProxy without sticky sessions.
import { test } from "node:test";
import { startRoundRobin } from "./haproxy.mjs";
import { checkDrain, startServers, testTransports } from "./round-robin.mjs";

const fleet = await startServers(startRoundRobin);

testTransports(fleet, 30);

test("a server that is drained keeps its sessions, and opens no others", (t) => checkDrain(t, fleet.url, fleet.servers));
