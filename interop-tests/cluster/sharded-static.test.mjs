// The features of a cluster with the sharded adapter, subscription mode "static".
import { features } from "./features.mjs";

await features("redis-sharded", { SUBSCRIPTION_MODE: "static" }, { values: false });
