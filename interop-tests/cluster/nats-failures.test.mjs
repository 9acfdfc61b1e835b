// Failures with the NATS adapter.
import { failures } from "./failures.mjs";

await failures("nats");
