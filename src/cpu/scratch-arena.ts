import type { ScratchMeter } from './op-context.js';

/**
 * Float32 buffers that stay allocated between operations: fresh memory of a matrix product's size costs as much in page
 * faults as packing it does. One buffer a slot, grown when needed; contents are whatever was there before.
 */
export class ScratchArena {
  private readonly slots = new Map<string, Float32Array>();

  constructor(private readonly meter: ScratchMeter) {}

  /** `elements` elements of the slot's buffer, valid until the slot is taken again. */
  take(slot: string, elements: number): Float32Array {
    const held = this.slots.get(slot);
    if (held !== undefined && held.length >= elements) return held.subarray(0, elements);
    if (held !== undefined) this.meter.release(held.byteLength);
    // The old buffer must be collectable before the new one exists.
    this.slots.delete(slot);
    const buffer = new Float32Array(elements);
    this.meter.hold(buffer.byteLength);
    this.slots.set(slot, buffer);
    return buffer;
  }

  /** Lets all buffers go. */
  clear(): void {
    for (const buffer of this.slots.values()) this.meter.release(buffer.byteLength);
    this.slots.clear();
  }
}
