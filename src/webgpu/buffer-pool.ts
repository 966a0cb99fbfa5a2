import { roundUp } from '../core/dims.js';
import { DeviceError } from '../core/errors.js';
import type { DeviceHealth } from './device-health.js';
import { BUFFER_USAGE } from './gpu-constants.js';

/** Sizes are multiples of this: also the strictest offset alignment a device may ask for. */
const GRAIN_BYTES = 256;
/** From this size on an allocation runs inside an out-of-memory scope. */
const CHECKED_BYTES = 1 << 20;
/** A pooled buffer may serve a request that is this much smaller. */
const SLACK = 1.125;
/** Idle buffers may raise the total by this much over what live tensors ever needed; spares small buffers. */
const IDLE_ALLOWANCE_BYTES = 16 << 20;

/** A storage buffer with what the pool and the bind group cache know about it. */
export interface PooledBuffer {
  readonly id: number;
  readonly gpu: GPUBuffer;
  readonly bytes: number;
  /** False when an earlier tensor used it: its contents are then arbitrary, else zero. */
  readonly fresh: boolean;
}

/**
 * Storage buffers with byte accounting and a budget. Freed buffers wait for a request of about their size; they are
 * destroyed rather than let the total grow much beyond what live tensors needed at their peak.
 * Nothing is left to the garbage collector: the Node binding does not free buffers by it.
 */
export class BufferPool {
  private readonly idle = new Map<number, PooledBuffer[]>();
  private readonly doomed: PooledBuffer[] = [];
  private nextId = 0;
  private idleBytes = 0;
  private totalBytes = 0;
  private peak = 0;
  private livePeak = 0;

  constructor(
    private readonly device: GPUDevice,
    private readonly health: DeviceHealth,
    readonly budgetBytes: number,
    /** Told before a buffer goes, so that bind groups with it go too. */
    private readonly onDestroy: (buffer: PooledBuffer) => void,
    /** Submits recorded work, which may still use doomed buffers, and then calls `destroyDoomed`. */
    private readonly submit: () => void,
  ) {}

  get allocatedBytes(): number {
    return this.totalBytes;
  }

  get peakBytes(): number {
    return this.peak;
  }

  resetPeak(): void {
    this.peak = this.totalBytes;
    this.livePeak = this.totalBytes - this.idleBytes;
  }

  /** A buffer of at least `bytes`. DeviceError when the budget does not allow it; `what` names the tensor. */
  acquire(bytes: number, what: string): PooledBuffer {
    const size = roundUp(Math.max(bytes, GRAIN_BYTES), GRAIN_BYTES);
    const reused = this.takeIdle(size);
    this.livePeak = Math.max(
      this.livePeak,
      this.totalBytes - this.idleBytes + (reused === undefined ? size : 0),
    );
    if (reused !== undefined) return reused;
    this.trim(size);
    if (this.totalBytes + size > this.budgetBytes)
      throw new DeviceError(
        `${what} asks for ${size} bytes of GPU memory; ${this.budgetBytes - this.totalBytes} of the budget of ${this.budgetBytes} are free`,
        { advice: 'raise --gpu-memory, or make the job smaller: --seq-len, --samples, --group-size' },
      );
    const checked = size >= CHECKED_BYTES;
    if (checked) this.device.pushErrorScope('out-of-memory');
    const gpu = this.device.createBuffer({
      label: what,
      size,
      usage: BUFFER_USAGE.storage | BUFFER_USAGE.copySource | BUFFER_USAGE.copyTarget,
    });
    if (checked) this.health.watch(this.reportMemory(what, size, this.device.popErrorScope()));
    this.totalBytes += size;
    this.peak = Math.max(this.peak, this.totalBytes);
    return { id: this.nextId++, gpu, bytes: size, fresh: true };
  }

  /** Takes a buffer back. Later recorded work may reuse it: the queue keeps the order. */
  release(buffer: PooledBuffer): void {
    const used: PooledBuffer = { ...buffer, fresh: false };
    const bucket = this.idle.get(used.bytes);
    if (bucket === undefined) this.idle.set(used.bytes, [used]);
    else bucket.push(used);
    this.idleBytes += used.bytes;
  }

  /** Destroys what `trim` doomed. Only to be called when no recorded, unsubmitted work can use it. */
  destroyDoomed(): void {
    for (const buffer of this.doomed) buffer.gpu.destroy();
    this.doomed.length = 0;
  }

  /** Destroys every idle buffer; for the end of the device. */
  destroyAll(): void {
    for (const bucket of this.idle.values()) while (bucket.length > 0) this.doom(bucket);
    this.idle.clear();
    this.destroyDoomed();
  }

  private takeIdle(size: number): PooledBuffer | undefined {
    let best: PooledBuffer[] | undefined;
    for (const [bytes, bucket] of this.idle)
      if (bytes >= size && bytes <= size * SLACK && (best === undefined || bytes < best[0].bytes))
        best = bucket;
    const buffer = best?.pop();
    if (best === undefined || buffer === undefined) return undefined;
    if (best.length === 0) this.idle.delete(buffer.bytes);
    this.idleBytes -= buffer.bytes;
    return buffer;
  }

  /** Dooms idle buffers, the largest first, until `size` more bytes are within the allowance and the budget. */
  private trim(size: number): void {
    const allowed = Math.min(this.livePeak + IDLE_ALLOWANCE_BYTES, this.budgetBytes);
    if (this.idleBytes === 0 || this.totalBytes + size <= allowed) return;
    for (const bytes of [...this.idle.keys()].sort((a, b) => b - a)) {
      const bucket = this.idle.get(bytes) ?? [];
      while (bucket.length > 0 && this.totalBytes + size > allowed) this.doom(bucket);
      if (bucket.length === 0) this.idle.delete(bytes);
    }
    if (this.doomed.length > 0) this.submit();
  }

  private doom(bucket: PooledBuffer[]): void {
    const buffer = bucket.pop();
    if (buffer === undefined) return;
    this.idleBytes -= buffer.bytes;
    this.totalBytes -= buffer.bytes;
    this.onDestroy(buffer);
    this.doomed.push(buffer);
  }

  private async reportMemory(what: string, size: number, scope: Promise<GPUError | null>): Promise<void> {
    const error = await scope.catch(() => null);
    if (error === null) return;
    this.health.fail(
      'out-of-memory',
      new DeviceError(
        `${what}: the device has no ${size} bytes left (${this.totalBytes - size} in use by halfbyte): ${error.message}`,
        { advice: 'set --gpu-memory below what the device has, or use --device cpu' },
      ),
    );
  }
}
