import { product } from '../core/dims.js';
import { Bug, DeviceError } from '../core/errors.js';
import type { Tensor, TensorDType } from '../engine/tensor.js';
import { BufferPool } from './buffer-pool.js';
import { DeviceHealth } from './device-health.js';
import { GpuTensor, gpuTensor, tensorBytes } from './gpu-tensor.js';
import type { DeviceFacts, DispatchOptions, KernelContext } from './kernel-context.js';
import { PipelineCache, type Kernel } from './pipeline-cache.js';
import { Recorder } from './recorder.js';
import { packParams, type ShaderName } from './shader-types.js';

/** A quiet NaN that no arithmetic makes by itself: unwritten memory in `poison` mode. */
export const POISON_BITS = 0x7fc0dead;

export interface GpuContextOptions {
  readonly device: GPUDevice;
  readonly facts: DeviceFacts;
  readonly budgetBytes: number;
  /** Fills every new tensor with POISON_BITS, to show kernels that rely on zeroed memory. */
  readonly poison: boolean;
}

/** Device, memory, pipelines and recording in one place: what kernels and transfers work through. */
export class GpuContext implements KernelContext {
  readonly device: GPUDevice;
  readonly facts: DeviceFacts;
  readonly health: DeviceHealth;
  readonly pool: BufferPool;
  readonly recorder: Recorder;
  readonly pipelines: PipelineCache;
  private readonly poison: boolean;
  private readonly live = new Set<GpuTensor>();

  constructor(options: GpuContextOptions) {
    const { device, facts } = options;
    this.device = device;
    this.facts = facts;
    this.poison = options.poison;
    this.health = new DeviceHealth(device, facts.adapter);
    this.recorder = new Recorder(device, () => this.pool.destroyDoomed());
    this.pool = new BufferPool(
      device,
      this.health,
      options.budgetBytes,
      (buffer) => this.recorder.forget(buffer),
      () => this.recorder.submit(),
    );
    this.pipelines = new PipelineCache(device, this.health);
  }

  get liveTensors(): number {
    return this.live.size;
  }

  create(shape: readonly number[], dtype: TensorDType, label: string, zero: boolean): GpuTensor {
    if (shape.some((dim) => !Number.isSafeInteger(dim) || dim < 0))
      throw new Bug(`internal: ${label} has the shape [${shape.join(', ')}]`);
    const bytes = tensorBytes(shape, dtype);
    const what = `${label} [${shape.join(', ')}] ${dtype}`;
    if (bytes > this.facts.maxBindingBytes)
      throw new DeviceError(
        `${what} is ${bytes} bytes; this device allows ${this.facts.maxBindingBytes} in one tensor`,
        {
          advice: 'choose another device with --device, for example --device cpu',
        },
      );
    const tensor = new GpuTensor(shape, dtype, label, this.pool.acquire(bytes, what));
    this.live.add(tensor);
    if (this.poison && !zero) this.fill(tensor, POISON_BITS);
    else if (zero && !tensor.buffer.fresh) this.fill(tensor, 0);
    return tensor;
  }

  /** Sets every 32-bit word of a tensor. */
  fill(tensor: GpuTensor, bits: number): void {
    const count = Math.ceil(tensor.bytes / 4);
    this.dispatch({
      shader: 'tensor/fill',
      params: { first: 0, count, bits },
      tensors: [tensor],
      workgroups: Math.ceil(count / 256),
    });
  }

  free(tensor: Tensor): void {
    const own = gpuTensor(tensor);
    this.pool.release(own.release());
    this.live.delete(own);
  }

  scratch(shape: readonly number[], label: string): Tensor {
    return this.create(shape, 'f32', label, false);
  }

  release(tensor: Tensor): void {
    this.free(tensor);
  }

  dispatch<S extends ShaderName>(options: DispatchOptions<S>): void {
    const { shader, flags = [], constants = {}, params } = options;
    const grid = this.foldGrid(shader, options.workgroups);
    if (product(grid) === 0) return;
    const kernel = this.pipelines.get(shader, flags, constants);
    const tensors = options.tensors.map(gpuTensor);
    checkBindings(kernel, tensors);
    this.recorder.launch({
      kernel,
      tensors,
      grid,
      pack: (target, offset) => packParams(shader, params, target, offset),
    });
  }

  /** Frees everything and destroys the device. */
  async dispose(): Promise<void> {
    this.health.close();
    for (const tensor of this.live) this.pool.release(tensor.release());
    this.live.clear();
    this.recorder.destroy();
    this.pool.destroyAll();
    this.device.destroy();
    await this.device.lost;
  }

  private foldGrid(
    shader: string,
    workgroups: number | readonly [number, number, number],
  ): readonly [number, number, number] {
    const limit = this.facts.maxWorkgroupsPerDimension;
    const grid = typeof workgroups === 'number' ? foldWorkgroups(workgroups, limit) : workgroups;
    if (grid.some((size) => !Number.isSafeInteger(size) || size < 0 || size > limit))
      throw new Bug(
        `internal: ${shader} dispatches ${grid.join(' × ')} workgroups, ${limit} per dimension are allowed`,
      );
    return grid;
  }
}

/** A linear count as an x·y grid with x, y ≤ limit and little waste; the shader undoes it with flat_group. */
export function foldWorkgroups(count: number, limit: number): readonly [number, number, number] {
  if (count <= limit) return [count, 1, 1];
  const y = Math.ceil(count / limit);
  return [Math.ceil(count / y), y, 1];
}

/** As many tensors as the variant binds, and no buffer both written and bound again, which WebGPU forbids. */
function checkBindings(kernel: Kernel, tensors: readonly GpuTensor[]): void {
  if (tensors.length !== kernel.storage.length)
    throw new Bug(`internal: ${kernel.shader} binds ${kernel.storage.length} tensors, got ${tensors.length}`);
  tensors.forEach((tensor, index) => {
    const again = tensors.indexOf(tensor) !== tensors.lastIndexOf(tensor);
    if (kernel.storage[index].writes && again)
      throw new Bug(`internal: ${kernel.shader} writes ${tensor.label} and binds it a second time`);
  });
}
