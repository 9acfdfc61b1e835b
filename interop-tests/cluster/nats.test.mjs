// The features of a cluster with the NATS adapter.
import { features } from "./features.mjs";

await features("nats");
