// A panic of the running daemon: the process ends, says where, and a door that is started anew rings on. The panic is one that the
// program has in it: the standard library's, when the kernel does not tell the time. The kernel's part is played by a preloaded
// library, once, to the thread that a file names.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Door, callState } from "./door.mjs";
import { Phone } from "./phone.mjs";
import { preloadable } from "./preload.mjs";
import { until } from "./wait.mjs";

const TEST_MS = 60_000;
/** What the kernel keeps of a thread's name. */
const NAME_BYTES = 16;

const CLOCK = `
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static char *order;
__attribute__((constructor)) static void begin(void) {
  int file = open(getenv("PANIC_ORDER"), O_RDWR | O_CLOEXEC);
  void *seen = file < 0 ? MAP_FAILED : mmap(NULL, ${NAME_BYTES}, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (seen != MAP_FAILED) order = seen;
}
int clock_gettime(clockid_t clock, struct timespec *time) {
  char first = order ? *(volatile char *)order : 0, name[${NAME_BYTES}] = "";
  if (first && prctl(PR_GET_NAME, name) == 0 && strcmp(name, order) == 0 && __sync_bool_compare_and_swap(order, first, 0)) {
    errno = EINVAL;
    return -1;
  }
  return syscall(SYS_clock_gettime, clock, time);
}
`;

describe("a panic of the running daemon", () => {
  let folder;
  let library;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "intercomd-panic-"));
    library = preloadable(folder, CLOCK);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** Of the door's threads the name of one that this fits, as soon as there is one. */
  const thread = (door, wanted) =>
    until(
      () => {
        const names = readdirSync(`/proc/${door.pid}/task`).map((task) => readFileSync(`/proc/${door.pid}/task/${task}/comm`, "utf8").trim());
        return names.find((name) => wanted.test(name)) ?? null;
      },
      `a thread like ${wanted}`,
      10_000,
    );

  /** Panics a thread like this while it rings. */
  const panics = (wanted) => async (t) => {
    const stateDir = mkdtempSync(join(folder, "state-"));
    const order = join(stateDir, "order");
    const open = [];
    t.after(async () => {
      for (const one of open) await (one.close ?? one.stop).call(one).catch(() => {});
    });
    const start = async () => {
      writeFileSync(order, Buffer.alloc(NAME_BYTES));
      const door = await Door.start({ stateDir, inside: ["env", `LD_PRELOAD=${library}`, `PANIC_ORDER=${order}`] });
      open.push(door);
      return door;
    };
    const died = await start();
    const phone = await Phone.open();
    open.push(phone);
    await phone.watch(died);
    await died.press();
    await phone.untilState("ringing");
    await until(() => /"interrupted"/.test(readFileSync(join(stateDir, "calls.json"), "utf8")), "the ring in the log", 10_000);

    const name = await thread(died, wanted);
    writeFileSync(order, Buffer.concat([Buffer.from(name), Buffer.alloc(NAME_BYTES)], NAME_BYTES), { flag: "r+" });
    assert.deepEqual(await died.end(), { code: null, signal: "SIGABRT" });
    assert.match(died.wholeLog, /^thread '[^']+' .*panicked at .*\n.*Invalid argument/m);

    const back = await start();
    await back.until((status) => callState(status) === "ringing", "a ring without a press");
    await phone.openAnswerPage(back);
    await phone.page.click("#arm");
    await phone.untilState("ringing");
  };

  test("in a thread of the heart ends it with a word, and started anew it rings on", { timeout: TEST_MS }, panics(/^tokio/));
  test("in a thread of the media ends it with a word, and started anew it rings on", { timeout: TEST_MS }, panics(/^speaker$/));
});
