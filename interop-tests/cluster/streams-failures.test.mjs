// Failures with the streams adapter.
import { failures } from "./failures.mjs";

await failures("redis-streams");
