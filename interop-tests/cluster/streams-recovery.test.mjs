// Connection state recovery with the streams adapter.
import { recovery } from "./recovery.mjs";

await recovery("redis-streams");
