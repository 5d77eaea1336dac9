// What a light phone sends: a grey picture and a silence, whole and decodable, as small as they come. Pure.

const [ACROSS, DOWN] = [10, 8];
const START = 12;

class Bits {
  #bits = "";

  add(count, value) {
    this.#bits += value.toString(2).padStart(count, "0");
    return this;
  }

  /** Exp-Golomb codes without a sign (ITU-T H.264, 9.1). The 0 with a sign has the same code. */
  golomb(...values) {
    for (const value of values) {
      const code = (value + 1).toString(2);
      this.#bits += code.padStart(2 * code.length - 1, "0");
    }
    return this;
  }

  /** The unit: its header, its bits with their end, and the bytes that keep start codes out of them. */
  unit(header) {
    const closed = `${this.#bits}1`;
    const whole = closed.padEnd(Math.ceil(closed.length / 8) * 8, "0");
    const out = [header];
    for (let at = 0; at < whole.length; at += 8) {
      const byte = parseInt(whole.slice(at, at + 8), 2);
      if (byte <= 3 && out.length > 2 && out.at(-1) === 0 && out.at(-2) === 0) out.push(3);
      out.push(byte);
    }
    return Buffer.from(out);
  }
}

/** Constrained baseline at level 3.1, pictures that depend on no other. */
const SEQUENCE = new Bits().add(24, 0x42e01f).golomb(0, 0, 2, 1).add(1, 0).golomb(ACROSS - 1, DOWN - 1).add(4, 0b1100).unit(0x67);
const PICTURE = new Bits().golomb(0, 0).add(2, 0).golomb(0, 0, 0).add(3, 0).golomb(0, 0, 0).add(3, 0).unit(0x68);

/** All of one colour: every block predicted from its neighbours, nothing added. */
function slice(id) {
  const bits = new Bits().golomb(0, 7, 0).add(4, 0).golomb(id).add(2, 0).golomb(0);
  for (let block = 0; block < ACROSS * DOWN; block += 1) bits.golomb(3, 0, 0).add(1, 1);
  return bits.unit(0x65);
}

/** Sequence, picture and slice in one payload (RFC 6184, 5.7.1). Two pictures in a row must differ in their id. */
const PICTURES = [0, 1].map((id) => {
  const sized = [SEQUENCE, PICTURE, slice(id)].flatMap((unit) => [Buffer.from([unit.length >> 8, unit.length & 255]), unit]);
  return Buffer.concat([Buffer.from([0x78]), ...sized]);
});
/** Opus of 20 ms without a sound in it. */
const SILENCE = Buffer.from([0xf8, 0xff, 0xfe]);

/** A stream of RTP packets, each made when it is asked for. */
export class Packets {
  #number = 1;
  #time = 0;

  /** @param {"audio"|"video"} kind @param {number} payloadType @param {number} ssrc */
  constructor(kind, payloadType, ssrc) {
    Object.assign(this, { kind, payloadType, ssrc });
  }

  /** How long after one packet the next is due, in milliseconds. */
  get every() {
    return this.kind === "audio" ? 20 : 40;
  }

  next() {
    const video = this.kind === "video";
    const payload = video ? PICTURES[this.#number % 2] : SILENCE;
    const packet = Buffer.alloc(START + payload.length);
    packet[0] = 0x80;
    packet[1] = this.payloadType | (video ? 0x80 : 0);
    packet.writeUInt16BE(this.#number % 65_536, 2);
    packet.writeUInt32BE(this.#time % 2 ** 32, 4);
    packet.writeUInt32BE(this.ssrc, 8);
    payload.copy(packet, START);
    this.#number += 1;
    this.#time += (this.every * (video ? 90_000 : 48_000)) / 1000;
    return packet;
  }
}

/** The pictures as a stream of bytes, for a decoder that is to prove that they are some. */
export function stream(count) {
  const start = Buffer.from([0, 0, 0, 1]);
  const units = Array.from({ length: count }, (_, n) => [start, SEQUENCE, start, PICTURE, start, slice(n % 2)]);
  return Buffer.concat(units.flat());
}
