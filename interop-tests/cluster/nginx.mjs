// nginx in front of several servers, without sticky sessions.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { until } from "../official/helpers.mjs";
import { HOST, exit, freePort, guarded } from "./processes.mjs";

const configuration = (port, servers) => `
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  client_max_body_size 10m;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream servers {
    ${servers.map((server) => `server ${HOST}:${server} max_fails=0;`).join("\n    ")}
    keepalive 512;
  }
  server {
    listen ${HOST}:${port} backlog=4096;
    location / {
      proxy_pass http://servers;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_read_timeout 60s;
      proxy_buffering off;
      proxy_next_upstream error timeout http_503;
    }
  }
}
`;

/** Starts nginx, which distributes requests to the servers on these ports in turn. Returns its URL. */
export async function startNginx(servers) {
  const [port, folder] = [await freePort(), await mkdtemp(join(tmpdir(), "nginx-"))];
  await writeFile(join(folder, "nginx.conf"), configuration(port, servers));
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
  const args = ["-p", folder, "-c", "nginx.conf", "-e", "error.log"];
  const child = guarded(spawn("nginx", args, { env, stdio: ["ignore", "inherit", "inherit"] }));
  after(async () => {
    child.kill("SIGKILL");
    await exit(child);
    await rm(folder, { recursive: true });
  });
  const url = `http://${HOST}:${port}`;
  const responds = () => fetch(`${url}/health`).then(({ ok }) => ok, () => false);
  await until(responds, Boolean, "nginx responds");
  return url;
}
