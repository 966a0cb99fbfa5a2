import type { Checkpoint } from '../formats/safetensors/checkpoint.js';

/** One being worked on, one that its reader may still hold, one being read. */
const BUFFERS = 3;

/** A run of bytes inside one tensor of a checkpoint. */
export interface PanelRange {
  readonly tensor: string;
  /** Bytes, from the start of the tensor. */
  readonly offset: number;
  readonly length: number;
}

/**
 * Reads ranges in the order in which they will be asked for, each while its predecessor is worked on. Memory: three
 * ranges, used again and again: bytes are good until the second `next` after theirs.
 */
export class PanelReader {
  private ahead: Promise<Uint8Array> | undefined;
  private readonly buffers: Uint8Array[] = [];
  private turn = 0;

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly ranges: Iterator<PanelRange, void>,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** The bytes of the next range; undefined after the last one. */
  async next(): Promise<Uint8Array | undefined> {
    const bytes = await (this.ahead ?? this.start());
    this.ahead = this.start();
    return bytes;
  }

  private start(): Promise<Uint8Array> | undefined {
    const next = this.ranges.next();
    if (next.done === true) return undefined;
    const reading = this.read(next.value);
    // A failure is met when the range's turn comes, or not at all after an earlier one.
    reading.catch(() => undefined);
    return reading;
  }

  private async read({ tensor, offset, length }: PanelRange): Promise<Uint8Array> {
    const { checkpoint, signal, buffers } = this;
    if (checkpoint.readRangeInto === undefined)
      return checkpoint.readRange(tensor, { offset, length }, signal);
    this.turn = (this.turn + 1) % BUFFERS;
    // Fresh memory for every range would cost more than reading it: its pages are cleared, then collected.
    if (!(buffers[this.turn]?.byteLength >= length)) buffers[this.turn] = new Uint8Array(length);
    const target = buffers[this.turn].subarray(0, length);
    await checkpoint.readRangeInto(tensor, offset, target, signal);
    return target;
  }
}
