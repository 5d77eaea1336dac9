// The door as a guest of a signalling service: the hub of a second daemon stands in for the service, the
// phone's page knows only the service, and the wire between door and service can be cut.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { wireTo } from "./cutter.mjs";
import { Door, callState } from "./door.mjs";
import { Phone, serveTutorial } from "./phone.mjs";
import { DOOR_HERTZ } from "./signs.mjs";
import { until } from "./wait.mjs";

const TEST_MS = 120_000;

describe("a door with an uplink to a service", () => {
  let site;
  let service;
  let wire;
  let door;
  let phone;
  before(async () => {
    site = await serveTutorial();
  });
  after(() => site.close());
  beforeEach(async () => {
    service = await Door.start();
    wire = await wireTo(service.port);
    door = await Door.start({ service: { url: wire.url, key: service.key } });
    phone = await Phone.open();
    await phone.page.goto(site.address(service));
    await phone.page.click("#start");
    await until(async () => (await phone.page.innerText("#note")) === "joined", "the page's join", 15_000);
  });
  afterEach(async () => {
    await phone?.close();
    wire?.close();
    await door?.stop();
    await service?.stop();
  });

  const uplink = (status) => status.uplinks.find(({ name }) => name === "service");
  const armed = () => door.until((status) => uplink(status).state === "connected", "armed at the service");
  const ownId = async () => uplink(await door.status()).peer_id;

  test("is armed but not in the channel, then calls through the service", { timeout: TEST_MS }, async () => {
    await armed();
    await door.press();
    await phone.untilVisitorSeen("#theirs");
    await phone.untilHeard("#theirs", DOOR_HERTZ);
    const talking = await door.until((status) => callState(status) === "talking", "talking");
    assert.deepEqual(talking.uplinks.map(({ name, state }) => `${name} ${state}`).sort(), ["lan joined", "service joined"]);
    assert.equal(talking.peers[0].uplink, "service");
    await door.hangup();
    await door.untilIdle();
    await armed();
  });

  test("rings on when the line breaks while it rings, and does not ring twice", { timeout: TEST_MS }, async () => {
    await armed();
    const before = await ownId();
    wire.cut();
    await door.until((status) => uplink(status).state !== "connected", "the line's break");
    await door.press();
    const ringing = await door.until((status) => callState(status) === "ringing", "ringing in the LAN alone");
    wire.mend();
    await phone.untilVisitorSeen("#theirs", 40_000);
    const now = await door.status();
    assert.equal(now.call.id, ringing.call.id);
    assert.equal(now.counters.calls, 1);
    assert.notEqual(await ownId(), before);
  });

  test("goes on talking when the line breaks while it talks", { timeout: TEST_MS }, async () => {
    await armed();
    await door.press();
    await phone.untilVisitorSeen("#theirs");
    const talking = await door.until((status) => callState(status) === "talking", "talking");
    const before = await ownId();
    wire.cut();
    await door.until((status) => uplink(status).state !== "joined", "the line's break");
    wire.mend();
    await door.until((status) => uplink(status).state === "joined" && uplink(status).peer_id !== before, "the line's return", 30_000);
    await door.until(({ peers }) => peers.some(({ link, frames_received }) => link === "connected" && frames_received > 10), "the phone's picture on a new link", 30_000);
    await phone.untilVisitorSeen("#theirs");
    const now = await door.status();
    assert.equal(now.state, "talking");
    assert.equal(now.call.id, talking.call.id);
    assert.equal(now.counters.calls, 1);
    assert.equal(now.media.pipelines_built, 1);
  });

  test("says what to do about a wrong key", { timeout: TEST_MS }, async () => {
    const stranger = await Door.start({ service: { url: wire.url, key: "pk_live_test" } });
    try {
      const refused = await stranger.until((status) => uplink(status).state === "refused", "refused");
      assert.match(uplink(refused).advice, /key/i);
      assert.doesNotMatch(stranger.log, /pk_live_test/);
    } finally {
      await stranger.stop();
    }
  });
});
