import type { Checkpoint } from '../formats/safetensors/checkpoint.js';

/** A run of bytes inside one tensor of a checkpoint. */
export interface PanelRange {
  readonly tensor: string;
  /** Bytes, from the start of the tensor. */
  readonly offset: number;
  readonly length: number;
}

/**
 * Reads ranges in the order in which they will be asked for, each while its predecessor is worked on. Memory: two
 * ranges.
 */
export class PanelReader {
  private ahead: Promise<Uint8Array> | undefined;

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
    const reading = this.checkpoint.readRange(next.value.tensor, next.value, this.signal);
    // A failure is met when the range's turn comes, or not at all after an earlier one.
    reading.catch(() => undefined);
    return reading;
  }
}
