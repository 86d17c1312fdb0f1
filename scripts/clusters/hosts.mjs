// "Hosts": network namespaces of this machine with a name, an address and a table of names of their own, joined by a cable.
import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Two hosts, h1 (192.168.78.1) and h2 (192.168.78.2). As on Debian, each takes its own name for a loopback address. `remoteShell` is a program that
 * is used like ssh. They end with this process' namespace, or by `stop()`.
 */
export async function startHosts(folder) {
  const hosts = await Promise.all([1, 2].map((number) => startHost(folder, number)));
  const [first, second] = hosts;
  ip([
    "link",
    "add",
    "cable1",
    "netns",
    String(first.pid),
    "type",
    "veth",
    "peer",
    "name",
    "cable2",
    "netns",
    String(second.pid),
  ]);
  for (const [index, host] of hosts.entries()) {
    const cable = `cable${index + 1}`;
    ip(["addr", "add", `${host.address}/24`, "dev", cable], host);
    ip(["link", "set", cable, "up"], host);
    ip(["link", "set", "lo", "up"], host);
  }
  const remoteShell = join(folder, "remote-shell");
  const enter = hosts.map((host) => `${host.name}) exec ${on(host, ["bash", "-c"]).join(" ")} "$*" ;;`);
  writeFileSync(
    remoteShell,
    `#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nhost=$1; shift\ncase $host in\n${enter.join("\n")}\nesac\n`,
    {
      mode: 0o755,
    },
  );
  const stop = () => {
    for (const { child } of hosts) child.kill("SIGKILL");
  };
  return { all: hosts, remoteShell, stop };
}

/** `command` as it has to be typed to run on a host. */
export function on(host, command) {
  return [
    "nsenter",
    "--target",
    String(host.pid),
    "--net",
    "--uts",
    "--mount",
    "--root",
    `--wd=${process.cwd()}`,
    ...command,
  ];
}

// A sleeping process holds the namespaces.
async function startHost(folder, number) {
  const name = `h${number}`;
  const names = [1, 2].map((other) => (other === number ? `127.0.1.1 h${other}` : `192.168.78.${other} h${other}`));
  const table = join(folder, `hosts.${name}`);
  writeFileSync(table, `127.0.0.1 localhost\n${names.join("\n")}\n`);
  const script = `hostname ${name} && mount --bind '${table}' /etc/hosts && echo ready && exec sleep infinity`;
  const child = spawn("unshare", ["--net", "--uts", "--mount", "bash", "-c", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve, reject) => {
    child.stdout.once("data", resolve);
    child.once("close", () => reject(new Error(`The host ${name} did not start.`)));
  });
  return { name, address: `192.168.78.${number}`, pid: child.pid, child };
}

function ip(args, host) {
  const [program, ...rest] = host ? on(host, ["ip", ...args]) : ["ip", ...args];
  const { status, stderr } = spawnSync(program, rest, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
}
