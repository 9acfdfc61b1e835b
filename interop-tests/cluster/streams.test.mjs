// The features of a cluster with the streams adapter.
import { features } from "./features.mjs";

await features("redis-streams");
