// A wire between the door and its signalling service that can be cut.

import { connect, createServer } from "node:net";

/**
 * Passes TCP on to a port of 127.0.0.1.
 *
 * @returns {Promise<{url: string, cut: () => void, mend: () => void, close: () => void}>} `cut` drops every
 *   connection without a goodbye and refuses new ones until `mend`
 */
export async function wireTo(port) {
  const pairs = new Set();
  let whole = true;
  const server = createServer((near) => {
    if (!whole) return near.resetAndDestroy();
    const far = connect(port, "127.0.0.1");
    const pair = [near, far];
    pairs.add(pair);
    near.pipe(far).pipe(near);
    for (const socket of pair) {
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        pairs.delete(pair);
        for (const other of pair) other.destroy();
      });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const drop = () => {
    for (const [near, far] of pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  };
  return {
    url: `ws://127.0.0.1:${server.address().port}`,
    cut: () => {
      whole = false;
      drop();
    },
    mend: () => {
      whole = true;
    },
    close: () => {
      drop();
      server.close();
    },
  };
}
