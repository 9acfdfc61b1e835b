// Prometheus scrapes the example `metrics`, with its alert rules. Every metric, label and value that the rules and the
// dashboard name exists in the scrape, and so does every metric of docs/observability.md.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { client, connected, program, until, upgraded } from "./helpers.mjs";
import { exit, freePort, guarded } from "../cluster/processes.mjs";

const repository = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const SOURCE = repository("examples/metrics/prometheus");
const DASHBOARD = JSON.parse(readFileSync(`${SOURCE}/grafana.json`, "utf8"));
const DOCUMENT = readFileSync(repository("docs/observability.md"), "utf8");
const STARTED = 30_000;

/** The metrics of the document, with the kinds that it gives them. */
const documented = [...DOCUMENT.matchAll(/^\| `(\w+)` \| (gauge|counter|histogram) \|/gm)].map(([, name, kind]) => [name, kind]);
/** The queries of the dashboard, with its variables replaced as Grafana does. */
const queries = DASHBOARD.panels
  .flatMap(({ targets = [] }) => targets)
  .map(({ expr }) => expr.replaceAll("$job", "socketio").replaceAll("$instance", ".*").replaceAll("$__rate_interval", "1m"));
const variables = DASHBOARD.templating.list.flatMap(({ query }) => query.query ?? []);

const run = promisify(execFile);
const json = async (url) => (await fetch(url)).json();
/** Like `json`, for a server that may not listen yet. */
const early = (url) => json(url).catch(() => ({}));

describe("the example `metrics` and Prometheus", () => {
  let folder, exporter, prometheus, series;
  const processes = [];
  const expressions = [];
  const start = (command, args, options) =>
    processes.push(guarded(spawn(command, args, { stdio: ["ignore", "inherit", "inherit"], ...options })));

  before(async () => {
    const [port, own] = [await freePort(), await freePort()];
    exporter = `http://127.0.0.1:${port}`;
    prometheus = `http://127.0.0.1:${own}/api/v1`;
    start(program("metrics-example"), [], { env: { ...process.env, PORT: String(port) } });
    folder = mkdtempSync(`${tmpdir()}/prometheus-`);
    cpSync(SOURCE, folder, { recursive: true });
    const config = readFileSync(`${folder}/prometheus.yml`, "utf8");
    const quick = config.replaceAll("15s", "1s").replace("127.0.0.1:3000", `127.0.0.1:${port}`);
    assert.ok(quick.includes(String(port)) && quick.includes("1s"));
    writeFileSync(`${folder}/prometheus.yml`, quick);
    const options = [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`];
    options.push(`--web.listen-address=127.0.0.1:${own}`, "--log.level=warn");
    start("prometheus", options);
    await until(() => early(`${exporter}/health/ready`), ({ ready }) => ready, "the example listens", STARTED);
  });
  after(async () => {
    processes.forEach((child) => child.kill("SIGKILL"));
    await Promise.all(processes.map(exit));
    rmSync(folder, { recursive: true, force: true });
  });

  test("the rules pass their tests", async () => {
    const { stdout } = await run("promtool", ["check", "config", `${SOURCE}/prometheus.yml`]);
    const rules = Number(/(\d+) rules found/.exec(stdout)[1]);
    await run("promtool", ["test", "rules", "alerts.test.yml"], { cwd: SOURCE });
    const [alerts, tests] = ["alerts.yml", "alerts.test.yml"].map((file) => readFileSync(`${SOURCE}/${file}`, "utf8"));
    const names = [...alerts.matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
    assert.equal(names.length, rules);
    const fires = (name) => tests.includes(`labels: 'ALERTS{alertname="${name}",alertstate="firing"`);
    assert.deepEqual(names.filter((name) => !fires(name)), []);
  });

  test("the target is up, and the rules are evaluated", async (t) => {
    const socket = await upgraded(await connected(client(t, exporter)));
    await socket.emitWithAck("say", "hello");
    const isUp = ({ data }) => data?.activeTargets.length === 1 && data.activeTargets[0].health === "up";
    await until(() => early(`${prometheus}/targets`), isUp, "the target is up", STARTED);
    const rulesOf = ({ data }) => data.groups.flatMap(({ rules }) => rules);
    const isEvaluated = (answer) => rulesOf(answer).every(({ health }) => health === "ok");
    const rules = rulesOf(await until(() => json(`${prometheus}/rules`), isEvaluated, "the rules are evaluated", STARTED));
    assert.ok(rules.length > 0);
    expressions.push(...rules.map(({ query }) => query));
    const one = `${prometheus}/query?query=socketio_sockets`;
    await until(() => json(one), ({ data }) => data.result[0]?.value[1] === "1", "the socket is scraped", STARTED);
    // An alert that fires without a cause would be ignored when it has one.
    const { data } = await json(`${prometheus}/alerts`);
    assert.deepEqual(data.alerts.map(({ labels }) => labels.alertname), []);
  });

  test("the metrics are those of the document", async () => {
    const text = await (await fetch(`${exporter}/metrics`)).text();
    const kinds = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, kind]) => [name, kind]);
    assert.deepEqual(kinds.sort(), documented.toSorted());
  });

  test("the rules and the dashboard name only metrics, labels and values of the scrape", async () => {
    const answer = await json(`${prometheus}/series?match[]={job="socketio"}`);
    series = answer.data;
    const all = [...expressions, ...queries, ...variables];
    let names = 0;
    for (const expression of all) {
      for (const [, name, matchers = ""] of expression.matchAll(/\b((?:socketio|engineio)_\w+|up)\b(?:\{([^}]*)\})?/g)) {
        names += 1;
        const found = series.filter(({ __name__ }) => __name__ === name);
        assert.ok(found.length > 0, `no ${name}: ${expression}`);
        for (const [, label, values] of matchers.matchAll(/(\w+)=~?"([^"]*)"/g)) {
          for (const value of values.split("|").filter((value) => !/^\.\*$|^\$/.test(value))) {
            assert.ok(found.some((one) => one[label] === value), `no ${name} with ${label}="${value}": ${expression}`);
          }
        }
      }
      for (const [, labels] of expression.matchAll(/\b(?:by|on|ignoring) \(([^)]*)\)/g)) {
        for (const label of labels.split(", ")) assert.ok(series.some((one) => label in one), `no ${label}: ${expression}`);
      }
    }
    assert.ok(names > all.length);
  });

  test("the queries of the dashboard are valid", async () => {
    for (const query of queries) {
      const { status, error } = await json(`${prometheus}/query?query=${encodeURIComponent(query)}`);
      assert.equal(status, "success", `${query}: ${error}`);
    }
  });
});
