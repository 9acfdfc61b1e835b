// nginx for tests, in a folder of its own.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { until } from "../official/helpers.mjs";
import { HOST, exit, freePort, guarded } from "./processes.mjs";

/**
 * Starts nginx with this content of its block `http`, and resolves when `/health` responds on a port. Returns the folder to
 * which the paths of the configuration are relative.
 */
export async function startNginx(port, http) {
  const folder = await mkdtemp(join(tmpdir(), "nginx-"));
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((use) => `${use}_temp_path ${use};`);
  const configuration = `
    daemon off; master_process off; pid pid; error_log error.log;
    events { worker_connections 8192; }
    http {
      ${temporary.join(" ")}
      map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
      ${http}
    }`;
  await writeFile(join(folder, "nginx.conf"), configuration);
  const args = ["-p", folder, "-c", "nginx.conf", "-e", "error.log"];
  const child = guarded(spawn("/usr/sbin/nginx", args, { stdio: "inherit" }));
  after(async () => {
    child.kill("SIGKILL");
    await exit(child);
    await rm(folder, { recursive: true });
  });
  const responds = () => fetch(`http://${HOST}:${port}/health`).then(({ ok }) => ok, () => false);
  await until(responds, Boolean, "nginx responds");
  return folder;
}

/** Starts nginx, which sends each request to the next of the servers on these ports. Returns its URL. */
export async function startRoundRobin(servers) {
  const port = await freePort();
  // The options are those of docs/deployment.md.
  await startNginx(port, `
    access_log off;
    client_max_body_size 10m;
    upstream servers {
      ${servers.map((server) => `server ${HOST}:${server} max_fails=0;`).join(" ")}
      keepalive 512;
    }
    server {
      listen ${HOST}:${port} backlog=4096;
      location / {
        proxy_pass http://servers;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header Host $http_host;
        proxy_buffering off;
        proxy_read_timeout 60s;
        proxy_next_upstream error timeout http_503;
      }
    }`);
  return `http://${HOST}:${port}`;
}
