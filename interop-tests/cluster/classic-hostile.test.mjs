// Hostile messages on the channels of the classic adapter.
import { hostile } from "./hostile.mjs";

await hostile("redis");
