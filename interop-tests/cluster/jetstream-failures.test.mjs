// Failures with JetStream.
import { failures } from "./failures.mjs";

await failures("nats-jetstream");
