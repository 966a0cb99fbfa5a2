import type { PooledBuffer } from './buffer-pool.js';
import type { GpuTensor } from './gpu-tensor.js';
import { BUFFER_USAGE } from './gpu-constants.js';
import type { Kernel } from './pipeline-cache.js';

/** Dispatches per submit at most; 64 is also what other engines found stable on phones. */
const MAX_BATCH = 64;
/** Bytes from one Params slot to the next: the strictest offset alignment a device may ask for. */
const SLOT_BYTES = 256;
/** A submit should not keep the GPU longer than this: watchdogs of desktop systems cut in at 2 s. */
const TARGET_SUBMIT_MS = 250;
/** Bind groups kept; beyond it all are dropped and made again on use. */
const MAX_BIND_GROUPS = 4096;

/** One kernel launch, ready to encode. */
export interface Launch {
  readonly kernel: Kernel;
  readonly tensors: readonly GpuTensor[];
  readonly grid: readonly [number, number, number];
  /** Writes the Params struct. */
  readonly pack: (target: DataView, offset: number) => void;
}

/**
 * Records launches and submits them in batches: one compute pass per batch (WebGPU orders storage writes between the
 * dispatches of a pass), Params in slots of one uniform buffer that is written once per batch.
 */
export class Recorder {
  private readonly slots: GPUBuffer;
  private readonly slotData = new DataView(new ArrayBuffer(MAX_BATCH * SLOT_BYTES));
  private readonly groups = new Map<string, GPUBindGroup>();
  private readonly groupsOf = new Map<number, Set<string>>();
  private readonly touched = new Set<number>();
  private encoder: GPUCommandEncoder | undefined;
  private pass: GPUComputePassEncoder | undefined;
  private count = 0;
  private batchLimit = MAX_BATCH;
  private busySince: number | undefined;
  private dispatchesSinceBusy = 0;

  constructor(
    private readonly device: GPUDevice,
    /** Called after each submit, when no recorded work is left. */
    private readonly afterSubmit: () => void,
  ) {
    this.slots = device.createBuffer({
      label: 'params',
      size: MAX_BATCH * SLOT_BYTES,
      usage: BUFFER_USAGE.uniform | BUFFER_USAGE.copyTarget,
    });
  }

  launch(launch: Launch): void {
    const { kernel, tensors } = launch;
    if (this.pass === undefined) {
      this.encoder = this.device.createCommandEncoder();
      this.pass = this.encoder.beginComputePass();
    }
    const offset = this.count * SLOT_BYTES;
    launch.pack(this.slotData, offset);
    this.pass.setPipeline(kernel.pipeline);
    this.pass.setBindGroup(0, this.bindGroup(kernel, tensors), [offset]);
    this.pass.dispatchWorkgroups(...launch.grid);
    for (const tensor of tensors) this.touched.add(tensor.buffer.id);
    this.count++;
    if (this.count >= this.batchLimit) this.submit();
  }

  /** Whether recorded but not yet submitted work uses the buffer. */
  uses(buffer: PooledBuffer): boolean {
    return this.touched.has(buffer.id);
  }

  /** Hands recorded launches, and what `encode` adds after them, to the queue. */
  submit(encode?: (encoder: GPUCommandEncoder) => void): void {
    const { device } = this;
    this.pass?.end();
    if (this.encoder === undefined && encode !== undefined) this.encoder = device.createCommandEncoder();
    if (this.encoder !== undefined) {
      encode?.(this.encoder);
      if (this.count > 0)
        device.queue.writeBuffer(this.slots, 0, this.slotData.buffer, 0, this.count * SLOT_BYTES);
      device.queue.submit([this.encoder.finish()]);
      this.busySince ??= performance.now();
      this.dispatchesSinceBusy += this.count;
    }
    this.encoder = undefined;
    this.pass = undefined;
    this.count = 0;
    this.touched.clear();
    this.afterSubmit();
  }

  /**
   * To be called when the queue is known to be empty: adapts the batch size to the time that dispatches took, so that
   * a submit stays short on slow devices.
   */
  noteIdle(): void {
    if (this.busySince !== undefined && this.dispatchesSinceBusy > 0) {
      const msPerDispatch = (performance.now() - this.busySince) / this.dispatchesSinceBusy;
      this.batchLimit = Math.max(1, Math.min(MAX_BATCH, Math.floor(TARGET_SUBMIT_MS / msPerDispatch)));
    }
    this.busySince = undefined;
    this.dispatchesSinceBusy = 0;
  }

  /** Forgets bind groups that hold the buffer. */
  forget(buffer: PooledBuffer): void {
    for (const key of this.groupsOf.get(buffer.id) ?? []) this.groups.delete(key);
    this.groupsOf.delete(buffer.id);
  }

  destroy(): void {
    this.slots.destroy();
    this.groups.clear();
    this.groupsOf.clear();
  }

  private bindGroup(kernel: Kernel, tensors: readonly GpuTensor[]): GPUBindGroup {
    const key = `${kernel.id}|${tensors.map((tensor) => `${tensor.buffer.id}:${tensor.boundBytes}`).join()}`;
    const known = this.groups.get(key);
    if (known !== undefined) return known;
    if (this.groups.size >= MAX_BIND_GROUPS) {
      this.groups.clear();
      this.groupsOf.clear();
    }
    const group = this.device.createBindGroup({
      label: kernel.shader,
      layout: kernel.layout,
      entries: [
        { binding: 0, resource: { buffer: this.slots, size: kernel.paramsBytes } },
        ...tensors.map((tensor, index) => ({
          binding: kernel.storage[index].binding,
          resource: { buffer: tensor.buffer.gpu, size: tensor.boundBytes },
        })),
      ],
    });
    this.groups.set(key, group);
    for (const tensor of tensors) {
      const keys = this.groupsOf.get(tensor.buffer.id);
      if (keys === undefined) this.groupsOf.set(tensor.buffer.id, new Set([key]));
      else keys.add(key);
    }
    return group;
  }
}
