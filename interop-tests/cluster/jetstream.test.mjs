// The features of a cluster with JetStream.
import { features } from "./features.mjs";

await features("nats-jetstream", {}, { values: false });
