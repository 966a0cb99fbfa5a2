/**
 * The writing half of Protocol Buffers: a message is a row of fields, each a key (field number · 8 + wire type) and a
 * value. Wire types here: 0 an integer of seven bits a byte, 2 counted bytes, 5 four bytes.
 *
 * Written by hand because ONNX needs only these three and nothing of a schema compiler; its one hard demand, that weights
 * of gigabytes stream past the message, is met by external data, which no library helps with.
 * Memory: the message, once more when it is finished.
 */
import { concatBytes } from '../../io/byte-views.js';

export class MessageWriter {
  private readonly chunks: Uint8Array[] = [];

  /** int32, int64, enum or bool; negative numbers as 64-bit two's complement, as the format asks. */
  integer(field: number, value: number): this {
    this.chunks.push(varint(field * 8), varint(value));
    return this;
  }

  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    this.chunks.push(varint(field * 8 + 5), bytes);
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.chunks.push(varint(field * 8 + 2), varint(value.byteLength), value);
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, value: MessageWriter): this {
    return this.bytes(field, value.finish());
  }

  finish(): Uint8Array {
    return concatBytes(this.chunks);
  }
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  if (value < 0) {
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) + 128);
    return Uint8Array.from([...bytes, Number(rest)]);
  }
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Uint8Array.from([...bytes, rest]);
}
