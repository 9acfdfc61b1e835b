// The features of a cluster with the classic adapter.
import { features } from "./features.mjs";

await features("redis");
