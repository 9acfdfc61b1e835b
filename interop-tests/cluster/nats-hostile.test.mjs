// Hostile messages on the subjects of the NATS adapter.
import { hostile } from "./heartbeats-hostile.mjs";

await hostile("nats");
