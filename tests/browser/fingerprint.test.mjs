// Somebody between door and phone who could answer in the phone's place: the certificate that comes over the network is not
// the one whose fingerprint the phone signalled (RFC 8122 section 5). Nothing may be shown to whoever that is.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Door, callState } from "./door.mjs";
import { Phone } from "./phone.mjs";

const TEST_MS = 120_000;

describe("a phone whose certificate is not the one it signalled", () => {
  let door;
  let phone;
  beforeEach(async () => {
    door = await Door.start();
    phone = await Phone.open();
    // What the page signals names another certificate than its browser has.
    await phone.page.addInitScript(() => {
      globalThis.spoil = true;
      globalThis.spoilt = 0;
      const send = WebSocket.prototype.send;
      WebSocket.prototype.send = function (data) {
        const other = (digit) => (digit === "0" ? "1" : "0");
        const spoilt = (line, head, digit) => ((globalThis.spoilt += 1), head + other(digit));
        return send.call(this, typeof data === "string" && globalThis.spoil ? data.replace(/(a=fingerprint:sha-256 )([0-9A-F])/gi, spoilt) : data);
      };
    });
    await phone.watch(door);
  });
  afterEach(async () => {
    await phone?.close();
    await door?.stop();
  });

  test("is shown and told nothing, and is talked to once it is", { timeout: TEST_MS }, async () => {
    await door.press();
    await phone.untilState("ringing");
    // ICE found its way each time; the door gave up the handshake behind it and tried anew.
    const peer = ({ peers }) => peers[0] ?? {};
    const again = await door.until((status) => peer(status).generation >= 2 && peer(status).link === "connecting", "a second try", 20_000);
    assert.match(door.wholeLog, /: ice$/m);
    assert.doesNotMatch(door.wholeLog, /: dtls$/m);
    assert.ok((await phone.page.evaluate(() => globalThis.spoilt)) >= 2, "answers were spoilt");
    assert.equal(again.media.frames_shown, 0);
    assert.equal(await phone.page.evaluate(() => document.querySelector("#visitor").getVideoPlaybackQuality().totalVideoFrames), 0);

    await phone.page.evaluate(() => (globalThis.spoil = false));
    await phone.untilVisitorSeen("#visitor", 40_000);
    await phone.page.click("#answer");
    await door.until((status) => callState(status) === "talking" && status.media.frames_shown > 10, "the phone's picture at the door", 20_000);
    assert.equal((await door.status()).counters.calls, 1);
    await phone.page.click("#hangup");
    await door.untilIdle();
  });
});
