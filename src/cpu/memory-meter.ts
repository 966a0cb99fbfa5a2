import { DeviceError } from '../core/errors.js';
import type { MemoryUse } from '../engine/engine.js';
import type { ScratchMeter } from './op-context.js';

/**
 * Counts bytes twice: as recorded (the budget and `allocatedBytes` follow the calls, so they do not depend on how far
 * the queue has got) and as executed (the peak includes what operations hold while they run). Because memory is taken
 * and returned in queue order, the two meet whenever the queue is empty.
 */
export class MemoryMeter implements ScratchMeter {
  private recorded = 0;
  private executed = 0;
  private peak = 0;

  constructor(private readonly budgetBytes: number) {}

  /** Recorded allocation; a DeviceError beyond the budget. */
  reserve(bytes: number, label: string): void {
    if (this.recorded + bytes > this.budgetBytes)
      throw new DeviceError(
        `tensor ${label} of ${bytes} bytes exceeds the memory budget: ${this.recorded} of ${this.budgetBytes} bytes are in use`,
        { advice: 'raise the memory budget, or use shorter sequences or fewer samples' },
      );
    this.recorded += bytes;
    this.peak = Math.max(this.peak, this.recorded);
  }

  giveBack(bytes: number): void {
    this.recorded -= bytes;
  }

  allocated(bytes: number): void {
    this.hold(bytes);
  }

  freed(bytes: number): void {
    this.release(bytes);
  }

  hold(bytes: number): void {
    this.executed += bytes;
    this.peak = Math.max(this.peak, this.executed);
  }

  release(bytes: number): void {
    this.executed -= bytes;
  }

  use(): Omit<MemoryUse, 'tensors'> {
    return { allocatedBytes: this.recorded, peakBytes: this.peak, budgetBytes: this.budgetBytes };
  }

  resetPeak(): void {
    this.peak = Math.max(this.recorded, this.executed);
  }
}
