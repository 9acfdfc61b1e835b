// Failures with the sharded adapter.
import { failures } from "./failures.mjs";

await failures("redis-sharded");
