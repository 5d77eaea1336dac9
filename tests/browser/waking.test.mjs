// Phones that sleep: the page gives the door the address at which its browser can be woken, the door wakes it when it
// rings, and what is woken says so. The push service between them is a double; page, worker and door are real.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Door } from "./door.mjs";
import { Phone } from "./phone.mjs";
import { PushService, subscribeHere } from "./push-service.mjs";
import { until } from "./wait.mjs";

const TEST_MS = 120_000;

describe("a phone that sleeps", () => {
  let service;
  let door;
  let phone;
  let link;
  beforeEach(async () => {
    service = await PushService.start();
    door = await Door.start({ more: `\n[hooks.web_push]\ncontact = "mailto:owner@example.org"\nca_file = "${service.ca}"\n` });
    const { fragment } = await door.addPerson("Anna");
    link = `${door.link}&${fragment}`;
    phone = await Phone.open();
    await phone.context.grantPermissions(["notifications"]);
    await subscribeHere(phone.page, service.browser());
  });
  afterEach(async () => {
    await phone?.close();
    await door?.stop();
    service?.close();
  });

  const untilWaking = (wanted, one = phone) => until(async () => (await one.intercom("waking")) === wanted, `woken: ${wanted}`, 15_000, () => one.intercom("waking"));
  const kept = () => JSON.parse(readFileSync(join(door.folder, "web-push.json"))).sleepers;
  /** The phone is told at the next ring that it will be woken. */
  async function enabled() {
    await phone.watchAs(link);
    await untilWaking("off");
    await phone.page.click("#wake");
    await untilWaking("untold");
    await door.press();
    await untilWaking("on");
    await door.hangup();
    await door.untilIdle();
    await phone.untilState("armed");
  }

  test("is woken by every ring from then on, hears what became of it, and nobody else can read it", { timeout: TEST_MS }, async () => {
    await enabled();
    assert.equal(kept().length, 1);
    for (const file of ["web-push.json", "web-push.key"]) assert.equal(statSync(join(door.folder, file)).mode & 0o777, 0o600);
    await phone.page.goto("about:blank");
    service.came.length = 0;

    await door.press();
    const { news, headers, key } = await service.until("ring");
    assert.equal(news.door, "front-door");
    assert.equal(headers.urgency, "high");
    assert.equal(headers["content-encoding"], "aes128gcm");
    assert.equal(new URLSearchParams(link.split("#")[1]).get("push"), key, "signed with the key the browser was given");
    assert.ok(Number(headers.ttl) <= 120, "not kept for a phone that is off until nobody is there any more");
    await door.hangup();
    const missed = await service.until("missed");
    assert.equal(missed.news.call, news.call);
    assert.deepEqual(service.faults, []);
  });

  test("is tried again when its service is busy, and others that were woken are not woken twice", { timeout: TEST_MS }, async () => {
    const second = await Phone.open();
    try {
      await second.context.grantPermissions(["notifications"]);
      const browsers = [service.browser(), service.browser()];
      await subscribeHere(phone.page, browsers[0]);
      await subscribeHere(second.page, browsers[1]);
      for (const one of [phone, second]) {
        await one.watchAs(link);
        await untilWaking("off", one);
        await one.page.click("#wake");
        await untilWaking("untold", one);
      }
      await door.press();
      for (const one of [phone, second]) await untilWaking("on", one);
      await door.hangup();
      await door.untilIdle();
      for (const one of [phone, second]) await one.page.goto("about:blank");
      await service.until("missed");
      service.came.length = 0;

      const [slow, quick] = browsers.map(({ endpoint }) => new URL(endpoint).pathname);
      service.busy = [slow];
      await door.press();
      const rings = (path) => service.came.filter((one) => one.path === path && one.news.event === "ring").length;
      await until(() => rings(slow) === 2, "a second try", 15_000, () => JSON.stringify(service.came.map(({ path, news }) => [path, news.event])));
      assert.equal(rings(quick), 1);
    } finally {
      await second.close();
    }
  });

  test("shows that somebody is at the door, and a tap would open the page that answers", { timeout: TEST_MS }, async () => {
    await enabled();
    await phone.page.goto(`http://127.0.0.1:${door.port}/#channel=another&key=x`);
    const session = await phone.context.newCDPSession(phone.page);
    let registration = null;
    session.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => (registration = registrations.at(-1) ?? registration));
    await session.send("ServiceWorker.enable");
    await until(() => registration, "the worker's registration", 10_000);
    // Asked in the middle of showing, Chromium takes the news back (7 of 80, asked all the time): its own record is waited for.
    const displayed = [];
    session.on("BackgroundService.backgroundServiceEventReceived", ({ backgroundServiceEvent: { eventName, instanceId, eventMetadata } }) => {
      const body = eventMetadata.find(({ key }) => key === "Body")?.value;
      if (eventName === "Notification displayed") displayed.push({ tag: instanceId, body });
    });
    await session.send("BackgroundService.startObserving", { service: "notifications" });
    await session.send("BackgroundService.setRecording", { service: "notifications", shouldRecord: true });
    const shown = () => phone.page.evaluate(async () => (await (await navigator.serviceWorker.ready).getNotifications()).map(({ title, body, tag, data }) => ({ title, body, tag, data })));
    const deliver = async (news, body) => {
      await session.send("ServiceWorker.deliverPushMessage", { origin: `http://127.0.0.1:${door.port}`, registrationId: registration.registrationId, data: JSON.stringify(news) });
      await until(() => displayed.some((one) => one.tag === news.call && one.body === body), body, 10_000, () => displayed);
      return shown();
    };
    const ring = { intercomd: 1, event: "ring", door: "front-door", call: "c-1", at: 1, again: false };

    assert.deepEqual((await deliver(ring, "Someone is at the door")).map(({ body }) => body), ["Someone is at the door"]);
    const after = await deliver({ ...ring, event: "answered", name: "Ben" }, "Answered by Ben");
    assert.deepEqual(after.map(({ body, data }) => ({ body, data })), [{ body: "Answered by Ben", data: { door: "front-door" } }], "in place of the news of the ring");
  });

  test("that its push service knows no more is forgotten until the next call, and one whose person is removed for good", { timeout: TEST_MS }, async () => {
    await enabled();
    await phone.page.goto("about:blank");
    service.status = 410;
    await door.press();
    await until(() => kept().length === 0, "the address forgotten", 10_000, kept);
    await door.hangup();
    await door.untilIdle();

    // The page cannot know of it, so it says in each call where it can be woken.
    service.status = 201;
    await phone.watchAs(link);
    await untilWaking("on");
    await door.press();
    await until(() => kept().length === 1, "the address kept again", 10_000, kept);
    await door.removePerson("Anna");
    await until(() => kept().length === 0, "the address forgotten", 10_000, kept);
    await door.hangup();
    await door.untilIdle();
    await door.press();
    await untilWaking("untold");
  });

  test("is not promised anything by a link without a person, or by a door that wakes nobody", { timeout: TEST_MS }, async () => {
    await phone.watchAs(door.link);
    assert.equal(await phone.intercom("waking"), "none");
    assert.equal(await phone.page.isVisible("#wake"), false);
    await phone.page.goto("about:blank");
    const without = new URLSearchParams(link.split("#")[1]);
    without.delete("push");
    await phone.watchAs(`${link.split("#")[0]}#${without}`);
    assert.equal(await phone.intercom("waking"), "none");
  });

  test("opened by a tap on the news is in the call without a further one", { timeout: TEST_MS }, async () => {
    await door.press();
    await phone.page.goto(`${link}&wake=1`);
    await phone.untilState("ringing");
    await phone.page.click("#answer");
    await door.until(({ state }) => state === "talking", "talking");
  });
});
