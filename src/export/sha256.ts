/** An incremental hash; Node hands in its native one, pages use `createSha256`. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** Lower-case hex. No update afterwards. */
  digest(): string;
}

const BLOCK_BYTES = 64;

/** SHA-256 (FIPS 180-4) over a stream of chunks; WebCrypto's digest wants everything at once. */
export function createSha256(): Hasher {
  const state = new Uint32Array(primes(8).map((p) => fraction(Math.sqrt(p))));
  const constants = new Uint32Array(primes(64).map((p) => fraction(Math.cbrt(p))));
  const schedule = new Uint32Array(64);
  const pending = new Uint8Array(BLOCK_BYTES);
  let pendingBytes = 0;
  let totalBytes = 0;

  const take = (bytes: Uint8Array): void => {
    let at = 0;
    while (at < bytes.byteLength) {
      if (pendingBytes === 0 && bytes.byteLength - at >= BLOCK_BYTES) {
        compress(state, constants, schedule, bytes.subarray(at, at + BLOCK_BYTES));
        at += BLOCK_BYTES;
        continue;
      }
      const part = bytes.subarray(at, at + BLOCK_BYTES - pendingBytes);
      pending.set(part, pendingBytes);
      pendingBytes += part.byteLength;
      at += part.byteLength;
      if (pendingBytes === BLOCK_BYTES) {
        compress(state, constants, schedule, pending);
        pendingBytes = 0;
      }
    }
  };

  return {
    update: (bytes) => {
      totalBytes += bytes.byteLength;
      take(bytes);
    },
    digest: () => {
      const zeros = (BLOCK_BYTES * 2 - 9 - pendingBytes) % BLOCK_BYTES;
      const tail = new Uint8Array(1 + zeros + 8);
      tail[0] = 0x80;
      new DataView(tail.buffer).setBigUint64(1 + zeros, BigInt(totalBytes) * 8n);
      take(tail);
      return [...state].map((word) => word.toString(16).padStart(8, '0')).join('');
    },
  };
}

function primes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) if (found.every((p) => n % p !== 0)) found.push(n);
  return found;
}

/** First 32 bits of the fractional part. */
function fraction(value: number): number {
  return Math.floor((value - Math.floor(value)) * 2 ** 32);
}

function compress(state: Uint32Array, constants: Uint32Array, w: Uint32Array, block: Uint8Array): void {
  const rotr = (x: number, n: number): number => (x >>> n) | (x << (32 - n));
  const view = new DataView(block.buffer, block.byteOffset, BLOCK_BYTES);
  for (let t = 0; t < 16; t++) w[t] = view.getUint32(t * 4);
  for (let t = 16; t < 64; t++) {
    const s0 = rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ (w[t - 15] >>> 3);
    const s1 = rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ (w[t - 2] >>> 10);
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let t = 0; t < 64; t++) {
    const s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + constants[t] + w[t]) | 0;
    const s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  [a, b, c, d, e, f, g, h].forEach((value, i) => (state[i] += value));
}
