// What a receiver tells a sender of its packets: receiver reports (RFC 3550 section 6.4.2) and transport-wide feedback
// (draft-holmer-rmcat-transport-wide-cc-extensions-01), as browsers send them. Pure.

const EXTENSION = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/** Deltas are told in quarters of a millisecond, the beginning in units of 64 ms. */
const [DELTA_US, REFERENCE_US] = [250, 64_000];
const [RECEIVER_REPORT, FEEDBACK, TRANSPORT_WIDE] = [201, 205, 15];
/** Numbers in one report: those of some seconds. */
const MOST = 2_000;

/** Under which id packets carry their transport-wide number by this description, or null. */
export function numberId(sdp) {
  const line = sdp.split(/\r?\n/).find((line) => line.startsWith("a=extmap:") && line.endsWith(EXTENSION));
  return line ? Number(/^a=extmap:(\d+)/.exec(line)[1]) : null;
}

/** Whether a packet is control, not media (RFC 5761 section 4). */
export const isControl = (packet) => packet.length > 1 && packet[1] >= 192 && packet[1] <= 223;

/** The fields of an RTP packet that count here; `number` is null where there is none. */
export function readMedia(packet, id) {
  const contributors = packet[0] & 15;
  const fields = { marker: packet[1] >= 128, type: packet[1] & 127, sequence: packet.readUInt16BE(2), ssrc: packet.readUInt32BE(8), number: null };
  let at = 12 + 4 * contributors;
  if (!(packet[0] & 16) || packet.readUInt16BE(at) !== 0xbede) return fields;
  const end = at + 4 + 4 * packet.readUInt16BE(at + 2);
  at += 4;
  while (at < end) {
    if (packet[at] === 0) {
      at += 1;
      continue;
    }
    const [found, length] = [packet[at] >> 4, (packet[at] & 15) + 1];
    if (found === id && length === 2) fields.number = packet.readUInt16BE(at + 1);
    at += 1 + length;
  }
  return fields;
}

/** When the last sender report of this source was written, as a receiver report gives it back; null in other packets. */
export function readSenderReport(packet) {
  if (packet[1] !== 200 || packet.length < 28) return null;
  return { ssrc: packet.readUInt32BE(4), stamp: packet.readUInt32BE(10) };
}

/** The next number or sequence as one that never wraps, near the last one. */
export function unwrapped(last, short) {
  if (last === null) return short;
  const step = ((short - last) & 0xffff) << 16 >> 16;
  return last + step;
}

/** Which packets of a connection came, and when. */
export class Arrivals {
  #came = new Map();
  #next = null;
  #newest = null;
  #reports = 0;

  /** @param {number} number as in the packet @param {number} us time of arrival, in microseconds */
  take(number, us) {
    const long = unwrapped(this.#newest, number);
    this.#newest = Math.max(this.#newest ?? long, long);
    this.#next ??= long;
    if (long >= this.#next && !this.#came.has(long)) this.#came.set(long, us);
  }

  /** A feedback packet about what came since the last one, or null if nothing did. */
  report(sender, media) {
    const numbers = [...this.#came.keys()].sort((one, other) => one - other);
    if (numbers.length === 0) return null;
    const base = this.#next;
    const reference = Math.floor(this.#came.get(numbers[0]) / REFERENCE_US);
    let ticks = (reference * REFERENCE_US) / DELTA_US;
    const [symbols, deltas] = [[], []];
    for (let number = base; number <= numbers.at(-1) && symbols.length < MOST; number += 1) {
      const us = this.#came.get(number);
      if (us === undefined) {
        symbols.push(0);
        continue;
      }
      const now = Math.round(us / DELTA_US);
      const delta = now - ticks;
      // Too long after the one before: the next report begins with it.
      if (delta > 32_767 || delta < -32_768) break;
      ticks = now;
      const small = delta >= 0 && delta <= 255;
      symbols.push(small ? 1 : 2);
      deltas.push([delta, small]);
    }
    for (let number = base; number < base + symbols.length; number += 1) this.#came.delete(number);
    this.#next = base + symbols.length;
    const packet = feedback({ sender, media, base, reference, count: this.#reports & 255 }, symbols, deltas);
    this.#reports += 1;
    return packet;
  }
}

/** Each chunk tells of seven packets, with two bits for each. */
function feedback({ sender, media, base, reference, count }, symbols, deltas) {
  const chunks = Math.ceil(symbols.length / 7);
  const bytes = deltas.reduce((sum, [, small]) => sum + (small ? 1 : 2), 0);
  const length = 20 + 2 * chunks + bytes;
  const packet = Buffer.alloc(Math.ceil(length / 4) * 4);
  const padding = packet.length - length;
  packet[0] = 0x80 | TRANSPORT_WIDE | (padding > 0 ? 0x20 : 0);
  packet[1] = FEEDBACK;
  packet.writeUInt16BE(packet.length / 4 - 1, 2);
  packet.writeUInt32BE(sender, 4);
  packet.writeUInt32BE(media, 8);
  packet.writeUInt16BE(base & 0xffff, 12);
  packet.writeUInt16BE(symbols.length, 14);
  packet.writeUIntBE(reference & 0xffffff, 16, 3);
  packet[19] = count;
  let at = 20;
  for (let chunk = 0; chunk < chunks; chunk += 1) {
    let word = 0xc000;
    for (let n = 0; n < 7; n += 1) word |= (symbols[7 * chunk + n] ?? 0) << (12 - 2 * n);
    at = packet.writeUInt16BE(word, at);
  }
  for (const [delta, small] of deltas) at = small ? packet.writeUInt8(delta, at) : packet.writeInt16BE(delta, at);
  if (padding > 0) packet[packet.length - 1] = padding;
  return packet;
}

/** What came of one source, for receiver reports. */
export class Source {
  #first = null;
  #highest = null;
  #before = { expected: 0, received: 0 };
  #stamp = null;

  constructor(ssrc) {
    Object.assign(this, { ssrc, received: 0 });
  }

  take(sequence) {
    const long = unwrapped(this.#highest, sequence);
    this.#first ??= long;
    this.#highest = Math.max(this.#highest ?? long, long);
    this.received += 1;
  }

  /** Keeps the time of a sender report, which came at `ms`. */
  stamp(stamp, ms) {
    this.#stamp = { stamp, ms };
  }

  get lost() {
    return this.#highest === null ? 0 : Math.max(0, this.#highest - this.#first + 1 - this.received);
  }

  /** A receiver report at `ms`. The jitter is told as 0. */
  report(sender, ms) {
    const packet = Buffer.alloc(32);
    packet[0] = 0x81;
    packet[1] = RECEIVER_REPORT;
    packet.writeUInt16BE(7, 2);
    packet.writeUInt32BE(sender, 4);
    packet.writeUInt32BE(this.ssrc, 8);
    const expected = this.#highest === null ? 0 : this.#highest - this.#first + 1;
    const [should, did] = [expected - this.#before.expected, this.received - this.#before.received];
    this.#before = { expected, received: this.received };
    packet[12] = should > did ? Math.min(255, Math.floor((256 * (should - did)) / should)) : 0;
    packet.writeUIntBE(Math.min(this.lost, 0x7fffff), 13, 3);
    packet.writeUInt32BE((this.#highest ?? 0) >>> 0, 16);
    if (this.#stamp) {
      packet.writeUInt32BE(this.#stamp.stamp, 24);
      packet.writeUInt32BE(Math.round(((ms - this.#stamp.ms) * 65_536) / 1000) >>> 0, 28);
    }
    return packet;
  }
}
