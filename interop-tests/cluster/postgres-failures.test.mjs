// Failures with the Postgres adapter.
import { failures } from "./failures.mjs";

await failures("postgres");
