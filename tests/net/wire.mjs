// A piece of wire inside a namespace: passes TCP from one address on to another and breaks it on command.
// A process of its own, started by `lay`; told what to do over the channel to its parent, ends with it.

import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { TLSSocket, createSecureContext } from "node:tls";
import { fileURLToPath } from "node:url";
import { within } from "../browser/wait.mjs";

const START_MS = 10_000;

/**
 * Lays a wire in a place.
 *
 * @param {import("./topology.mjs").Topology} net
 * @param {string} place
 * @param {{host: string, port: number}} from
 * @param {{host: string, port: number} | {path: string}} to
 * @param {{cert: string, key: string}} [certificate] files; with them it speaks TLS where it comes from
 */
export async function lay(net, place, from, to, certificate) {
  const [program, ...words] = net.inside(place);
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify({ from, to, certificate })], {
    execPath: program,
    execArgv: [...words, process.execPath],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    env: { ...process.env, INTERCOMD_WIRE: "1" },
  });
  const answers = new Map();
  let count = 0;
  child.on("message", ({ done }) => answers.get(done)?.());
  const ask = (order) => {
    const id = (count += 1);
    const answered = new Promise((resolve) => answers.set(id, resolve));
    child.send({ id, ...order });
    return within(answered, `the wire's word on ${order.do}`, START_MS).finally(() => answers.delete(id));
  };
  await within(new Promise((resolve) => child.once("message", resolve)), `a wire in ${place}`, START_MS);
  return {
    /** Resets every connection; the next ones are passed on again. */
    reset: () => ask({ do: "reset" }),
    /** Swallows what present connections say from now on: `up`, `down` or `both`. */
    swallow: (way) => ask({ do: "swallow", way }),
    /** Refuses connections, and resets those there are, until `accept`. */
    refuse: () => ask({ do: "refuse" }),
    accept: () => ask({ do: "accept" }),
    close: () => child.kill("SIGKILL"),
  };
}

if (process.env.INTERCOMD_WIRE && process.argv[1] === fileURLToPath(import.meta.url)) {
  const { from, to, certificate } = JSON.parse(process.argv[2]);
  const read = (file) => readFileSync(file, "utf8");
  const context = certificate && createSecureContext({ cert: read(certificate.cert), key: read(certificate.key) });
  const pairs = new Set();
  const server = createServer((raw) => {
    const near = context ? new TLSSocket(raw, { isServer: true, secureContext: context }) : raw;
    const far = connect(to);
    const pair = { near, raw, far, deaf: new Set() };
    pairs.add(pair);
    const pass = (way, source, sink) => {
      source.setNoDelay(true);
      source.on("data", (data) => {
        if (pair.deaf.has(way) || sink.destroyed) return;
        if (!sink.write(data)) {
          source.pause();
          sink.once("drain", () => source.resume());
        }
      });
      source.on("end", () => pair.deaf.has(way) || sink.end());
      source.on("error", () => pair.deaf.has(way) || abort(sink));
      source.on("close", () => {
        if (pair.deaf.has(way)) return;
        pairs.delete(pair);
        sink.destroy();
      });
    };
    pass("up", near, far);
    pass("down", far, near);
  });
  /** Ends a socket as a crash would; those of a path know no reset. */
  function abort(socket) {
    try {
      socket.resetAndDestroy();
    } catch {
      socket.destroy();
    }
  }
  const reset = () => {
    for (const { near, raw, far, deaf } of pairs) {
      deaf.clear();
      abort(raw);
      near.destroy();
      abort(far);
    }
  };
  const listen = (then) => server.listen({ ...from }, then);
  const orders = {
    reset: (_, done) => (reset(), done()),
    swallow: ({ way }, done) => {
      for (const { deaf } of pairs) for (const one of way === "both" ? ["up", "down"] : [way]) deaf.add(one);
      done();
    },
    refuse: (_, done) => {
      server.close();
      reset();
      done();
    },
    accept: (_, done) => listen(done),
  };
  process.on("message", (order) => orders[order.do](order, () => process.send({ done: order.id })));
  process.on("disconnect", () => process.exit(0));
  listen(() => process.send({ done: 0 }));
}
