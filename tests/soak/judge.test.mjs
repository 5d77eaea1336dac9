// The judge of the soak against samples whose truth is known.

import assert from "node:assert/strict";
import { test } from "node:test";
import { chance } from "../net/chance.mjs";
import { MEASURES, judge, leastCalls, slope, withLines, words } from "./judge.mjs";
import { plot } from "./plot.mjs";

/** Samples of a daemon at rest with the noise that a real one has; `leak` changes each. */
function samples(count, leak = (sample) => sample) {
  const dice = chance(7);
  return withLines(
    Array.from({ length: count }, (_, n) => {
      const calls = 10 * (n + 1);
      // What is built once, and the log until it is full.
      const filling = Math.min(1, calls / 30);
      return leak({
        calls, ownThreads: 4, threads: 6 + dice.between(0, 5), descriptors: 17 + dice.between(0, 1), pss: 50 + 30 * dice.next(), rss: 60 + 20 * filling + 3 * dice.next(),
        anonymous: 15 + 8 * filling + 3 * dice.next(), files: 5 + dice.between(3, 9), fileBytes: 400_000 * filling, logLines: 30 * calls + dice.between(0, 9),
      });
    }),
  );
}
const growing = (count, leak) => judge(samples(count, leak)).filter(({ flat }) => !flat).map(({ name }) => name);

test("a daemon that only wavers is flat, after few calls and after many", () => {
  for (const count of [12, 20, 500]) assert.deepEqual(growing(count), []);
});

test("one thread that stays behind in every fiftieth call is found, in the pool too", () => {
  assert.deepEqual(growing(20, (sample) => ({ ...sample, ownThreads: sample.ownThreads + Math.floor(sample.calls / 50) })), ["threads outside the pool"]);
  assert.deepEqual(growing(60, (sample) => ({ ...sample, threads: sample.threads + Math.floor(sample.calls / 50) })), ["threads"]);
});

test("one descriptor that stays behind in every fortieth call is found", () => {
  assert.deepEqual(growing(40, (sample) => ({ ...sample, descriptors: sample.descriptors + Math.floor(sample.calls / 40) })), ["descriptors"]);
});

test("ten kibibytes lost in each call are found after a thousand calls", () => {
  const leak = (sample) => ({ ...sample, anonymous: sample.anonymous + sample.calls / 102.4, rss: sample.rss + sample.calls / 102.4 });
  assert.deepEqual(growing(120, leak), ["anonymous memory, MiB", "memory (RSS), MiB"]);
});

test("a hundred kibibytes lost in each call are found after 200", () => {
  const leak = (sample) => ({ ...sample, anonymous: sample.anonymous + sample.calls / 10.24, rss: sample.rss + sample.calls / 10.24 });
  assert.deepEqual(growing(20, leak), ["anonymous memory, MiB", "memory (RSS), MiB"]);
});

test("files that are never removed, and a log that gets longer with each call, are found", () => {
  assert.deepEqual(growing(40, (sample) => ({ ...sample, files: sample.calls, fileBytes: 20_000 * sample.calls })), ["files", "bytes of files"]);
  assert.deepEqual(growing(40, (sample) => ({ ...sample, logLines: sample.calls * (30 + sample.calls / 20) })), ["lines of log for each call"]);
});

test("a leak that begins in the middle is found by what the end has more", () => {
  const leak = (sample) => ({ ...sample, descriptors: sample.descriptors + Math.max(0, (sample.calls - 300) / 20) });
  assert.deepEqual(growing(40, leak), ["descriptors"]);
});

test("fewer samples than a judgement needs are refused", () => {
  assert.throws(() => judge(samples(4)), /too few/);
});

test("the least number of calls gives samples enough", () => {
  for (const every of [10, 20, 30, 40]) {
    const some = samples(leastCalls(every) / 10).filter(({ calls }) => calls % every === 0);
    assert.equal(judge(some).length, MEASURES.length);
  }
});

test("a straight line has its slope, and points above each other have none", () => {
  assert.equal(slope([[0, 1], [1, 3], [2, 5]]), 2);
  assert.equal(slope([[1, 3], [1, 9]]), 0);
});

test("a judgement in words says what grows, and the plot shows each measure", () => {
  const all = samples(20, (sample) => ({ ...sample, threads: sample.calls }));
  assert.match(words(judge(all)[1]), /^threads: .*GROWS$/);
  const picture = plot("200 calls & more", all);
  assert.match(picture, /^<svg /);
  assert.match(picture, /200 calls &amp; more/);
  assert.equal(picture.match(/<polyline /g).length, 5);
  assert.doesNotMatch(picture, /NaN|undefined/);
});
