// Hostile messages on the channels of the sharded adapter.
import { hostile } from "./hostile.mjs";

await hostile("redis-sharded");
