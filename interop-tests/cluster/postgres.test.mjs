// The features of a cluster with the Postgres adapter.
import { features } from "./features.mjs";

await features("postgres");
