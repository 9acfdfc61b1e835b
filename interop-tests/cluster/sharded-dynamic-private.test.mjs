// The features of a cluster with the sharded adapter, subscription mode "dynamic-private".
import { features } from "./features.mjs";

await features("redis-sharded", { SUBSCRIPTION_MODE: "dynamic-private" }, { values: false });
