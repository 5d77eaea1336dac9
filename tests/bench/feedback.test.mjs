// The reports of the light phone, read back by the words of their specifications.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Arrivals, Source, isControl, numberId, readMedia, readSenderReport, unwrapped } from "./feedback.mjs";

/** Base, count, arrivals in milliseconds since the report's reference (null: not there) of a feedback packet. */
function readFeedback(packet) {
  assert.equal(packet[1], 205);
  assert.equal(packet[0] & 31, 15);
  assert.equal(packet.length, 4 * (packet.readUInt16BE(2) + 1));
  const [base, count] = [packet.readUInt16BE(12), packet.readUInt16BE(14)];
  const symbols = [];
  let at = 20;
  for (; symbols.length < count; at += 2) {
    const word = packet.readUInt16BE(at);
    assert.equal(word >> 14, 3, "a vector of two bits each");
    for (let n = 0; n < 7; n += 1) symbols.push((word >> (12 - 2 * n)) & 3);
  }
  let ticks = 0;
  const arrivals = symbols.slice(0, count).map((symbol) => {
    if (symbol === 0) return null;
    ticks += symbol === 1 ? packet.readUInt8(at) : packet.readInt16BE(at);
    at += symbol;
    return ticks / 4;
  });
  return { base, arrivals, reference: packet.readUIntBE(16, 3), reports: packet[19] };
}

test("the number of a packet is found in its extensions, and media told from control", () => {
  const packet = Buffer.from("90e0000700000001000000020000", "hex");
  const whole = Buffer.concat([packet.subarray(0, 12), Buffer.from("bede0002" + "1005" + "00" + "310a0b" + "0000", "hex"), Buffer.from("payload")]);
  assert.deepEqual(readMedia(whole, 3), { marker: true, type: 96, sequence: 7, ssrc: 2, number: 0x0a0b });
  assert.equal(readMedia(whole, 4).number, null);
  assert.equal(isControl(whole), false);
  assert.equal(isControl(Buffer.from("80c80006", "hex")), true);
});

test("the id of the number is read from a description", () => {
  const line = "a=extmap:5 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
  assert.equal(numberId(`v=0\r\n${line}\r\n`), 5);
  assert.equal(numberId("v=0\r\n"), null);
});

test("numbers go on where sixteen bits end", () => {
  assert.equal(unwrapped(65_535, 0), 65_536);
  assert.equal(unwrapped(65_536, 65_535), 65_535);
  assert.equal(unwrapped(null, 7), 7);
});

test("feedback tells what came, when, and what is missing", () => {
  const arrivals = new Arrivals();
  const begin = 10 * 64_000;
  arrivals.take(65_534, begin + 1_000);
  arrivals.take(65_535, begin + 2_000);
  arrivals.take(1, begin + 102_000);
  const { base, arrivals: told, reference, reports } = readFeedback(arrivals.report(1, 2));
  assert.deepEqual([base, told, reference, reports], [65_534, [1, 2, null, 102], 10, 0]);
  assert.equal(arrivals.report(1, 2), null);
  arrivals.take(2, begin + 104_000);
  assert.deepEqual(readFeedback(arrivals.report(1, 2)), { base: 2, arrivals: [40], reference: 11, reports: 1 });
});

test("a packet that was overtaken is told as earlier than the one before it", () => {
  const arrivals = new Arrivals();
  arrivals.take(1, 3_000);
  arrivals.take(3, 4_000);
  arrivals.take(2, 5_000);
  assert.deepEqual(readFeedback(arrivals.report(1, 2)).arrivals, [3, 5, 4]);
});

test("what comes long after the one before is left to the next report", () => {
  const arrivals = new Arrivals();
  arrivals.take(1, 0);
  arrivals.take(2, 9_000_000);
  assert.deepEqual(readFeedback(arrivals.report(1, 2)).arrivals, [0]);
  assert.equal(readFeedback(arrivals.report(1, 2)).base, 2);
});

test("a receiver report has the share lost since the last one, and gives the sender's time back", () => {
  const source = new Source(9);
  for (const sequence of [65_534, 65_535, 1]) source.take(sequence);
  source.stamp(0x12345678, 1_000);
  const report = source.report(1, 1_500);
  assert.equal(report[12], 64, "one of four");
  assert.equal(report.readUIntBE(13, 3), 1);
  assert.equal(report.readUInt32BE(16), 65_537);
  assert.deepEqual([report.readUInt32BE(24), report.readUInt32BE(28)], [0x12345678, 32_768]);
  source.take(2);
  assert.equal(source.report(1, 2_500)[12], 0);
  const sender = Buffer.alloc(28);
  sender[1] = 200;
  sender.writeUInt32BE(9, 4);
  sender.writeUInt32BE(0xaaaabbbb, 8);
  sender.writeUInt32BE(0xccccdddd, 12);
  assert.deepEqual(readSenderReport(sender), { ssrc: 9, stamp: 0xbbbbcccc });
});
