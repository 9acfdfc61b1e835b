// Failures with the classic adapter.
import { failures } from "./failures.mjs";

await failures("redis");
