import { Bug, DeviceError } from '../core/errors.js';
import { product } from '../core/dims.js';
import type { CreateOptions, Engine, EngineInfo, HostArray, MemoryUse } from '../engine/engine.js';
import type { CodebookOps } from '../engine/codebook.js';
import type { LinalgOps } from '../engine/linalg.js';
import type { NnOps } from '../engine/nn.js';
import type { QuantOps } from '../engine/quant.js';
import type { HqqOps } from '../engine/hqq.js';
import type { QuantizeGroupsOps } from '../engine/quantize-groups.js';
import { TENSOR_DTYPE_BYTES } from '../engine/tensor.js';
import type { Tensor, TensorDType } from '../engine/tensor.js';
import type { MatrixLibrary } from './matrix-library.js';
import { MemoryMeter } from './memory-meter.js';
import type { OpContext } from './op-context.js';
import { createCodebookOps } from './ops-codebook.js';
import { createLinalgOps } from './ops-linalg.js';
import { createNnOps } from './ops-nn.js';
import { createHqqOps } from './ops-hqq.js';
import { createQuantOps } from './ops-quant.js';
import { createQuantizeGroupsOps } from './ops-quantize-groups.js';
import { OperationQueue } from './queue.js';
import type { Task } from './queue.js';
import type { RowPool } from './row-pool.js';
import { RowScratch } from './row-scratch.js';
import { ScratchArena } from './scratch-arena.js';
import { allocateHost, CpuTensor, elementBytes } from './tensor/cpu-tensor.js';
import type { Precision } from './tensor/cpu-tensor.js';
import { hostSource, writeHost } from './tensor/write-host.js';

export interface CpuEngineOptions {
  /** f64: the oracle, nothing is rounded to float32 but scales (to float16). f32: the working engine. */
  readonly precision: Precision;
  /** Computes large float32 products; without it plain loops do. Ignored in f64. The engine disposes of it. */
  readonly matrixLibrary?: MatrixLibrary;
  /** Spreads row-wise work over threads; without it this thread does it. The engine disposes of it. */
  readonly rowPool?: RowPool;
  /** An allocation beyond it is a DeviceError. */
  readonly budgetBytes?: number;
  /** Processor in words, for reports. */
  readonly adapterName?: string;
}

/** Largest tensor in bytes at the contract's element sizes; typed arrays reach further, callers gain nothing by it. */
const MAX_TENSOR_BYTES = 2 ** 31;

/**
 * The contract on the processor, free of any platform: in a browser it works with plain loops. Memory: the live
 * tensors, plus scratch of one operation at a time (see memory().peakBytes).
 */
export function createCpuEngine(options: CpuEngineOptions): Engine {
  const core = new CpuCore(options);
  return Object.assign(core, {
    ...createLinalgOps(core.context),
    ...createNnOps(core.context),
    ...createQuantOps(core.context),
    ...createCodebookOps(core.context),
    ...createQuantizeGroupsOps(core.context),
    ...createHqqOps(core.context),
  });
}

/** Tensors, order and memory; the operations come beside it. */
class CpuCore implements Omit<
  Engine,
  keyof LinalgOps | keyof NnOps | keyof QuantOps | keyof CodebookOps | keyof QuantizeGroupsOps | keyof HqqOps
> {
  readonly info: EngineInfo;
  readonly maxTensorBytes: number;
  private readonly queue = new OperationQueue();
  private readonly meter: MemoryMeter;
  private readonly live = new Set<CpuTensor>();
  readonly context: OpContext;
  private disposed = false;

  constructor(private readonly options: CpuEngineOptions) {
    const { precision, budgetBytes = Infinity, rowPool } = options;
    const library = precision === 'f32' ? options.matrixLibrary : undefined;
    this.meter = new MemoryMeter(budgetBytes);
    this.maxTensorBytes = Math.min(MAX_TENSOR_BYTES, budgetBytes);
    this.context = {
      precision,
      library,
      pool: rowPool,
      scratch: this.meter,
      arena: new ScratchArena(this.meter),
      rows: new RowScratch(),
      record: (task) => this.record(task),
    };
    this.info = {
      engine: 'cpu',
      adapter: options.adapterName ?? 'cpu',
      software: false,
      precision,
      matrixLibrary: library?.name ?? 'plain loops',
      features: rowPool === undefined ? [] : [`${rowPool.workers} row workers`],
      limits: { maxTensorBytes: this.maxTensorBytes },
    };
  }

  create(shape: readonly number[], dtype: TensorDType, label: string, options: CreateOptions = {}): Tensor {
    this.assertUsable();
    const length = product(shape);
    if (!Number.isSafeInteger(length) || shape.some((dim) => dim < 0))
      throw new Bug(`internal: shape [${shape.join(', ')}] of ${label} is not a list of sizes`);
    if (length * TENSOR_DTYPE_BYTES[dtype] > this.maxTensorBytes)
      throw new DeviceError(
        `tensor ${label} [${shape.join(', ')}] ${dtype} needs ${length * TENSOR_DTYPE_BYTES[dtype]} bytes, the largest tensor has ${this.maxTensorBytes}`,
        { advice: 'give more memory, or cut the matrix into row panels' },
      );
    const { precision, rowPool } = this.options;
    const shared = options.staging === true && rowPool !== undefined;
    const tensor = new CpuTensor(shape, dtype, label, length * elementBytes(dtype, precision), this.context);
    this.meter.reserve(tensor.bytes, label);
    this.live.add(tensor);
    this.queue.push(() => {
      // New typed arrays are zero, so `zero` costs nothing extra here.
      tensor.data = allocateHost(dtype, precision, length, shared);
      this.meter.allocated(tensor.bytes);
    });
    return tensor;
  }

  write(tensor: Tensor, data: HostArray, offset = 0): void {
    const target = this.own(tensor, 'write');
    const source = hostSource(target, data, offset);
    // The caller may reuse its array at once, so a write that has to wait keeps a copy.
    const kept = this.queue.empty ? source : source.slice();
    this.queue.push(() => writeHost(target, kept, offset));
  }

  upload(data: HostArray, shape: readonly number[], dtype: TensorDType, label: string): Tensor {
    const elements = data instanceof Uint8Array ? data.length / TENSOR_DTYPE_BYTES[dtype] : data.length;
    if (elements !== product(shape))
      throw new Bug(`internal: upload of ${elements} elements as ${label} [${shape.join(', ')}]`);
    const tensor = this.create(shape, dtype, label);
    this.write(tensor, data);
    return tensor;
  }

  async read(tensor: Tensor, offset = 0, count?: number): Promise<HostArray> {
    const source = this.own(tensor, 'read');
    const end = count === undefined ? source.length : offset + count;
    if (offset < 0 || end < offset || end > source.length)
      throw new Bug(
        `internal: read of [${offset}, ${end}) from ${source.label} of ${source.length} elements`,
      );
    let result: HostArray | undefined;
    this.queue.push(() => {
      result = source.memory().slice(offset, end);
    });
    await this.queue.idle();
    if (result === undefined) throw new Bug(`internal: ${source.label} was not read`);
    return result;
  }

  free(...tensors: readonly Tensor[]): void {
    for (const tensor of tensors) {
      const target = this.own(tensor, 'free');
      target.freed = true;
      this.live.delete(target);
      this.meter.giveBack(target.bytes);
      this.queue.push(() => {
        if (target.data !== undefined) this.meter.freed(target.bytes);
        target.data = undefined;
      }, true);
    }
  }

  async sync(): Promise<void> {
    this.assertUsable();
    await this.queue.idle();
  }

  memory(): MemoryUse {
    return { ...this.meter.use(), tensors: this.live.size };
  }

  resetPeak(): void {
    this.meter.resetPeak();
  }

  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.free(...this.live);
    this.disposed = true;
    try {
      await this.queue.idle();
    } finally {
      this.context.arena.clear();
      await this.options.rowPool?.dispose();
      await this.options.matrixLibrary?.dispose();
    }
  }

  private record(task: Task): void {
    this.assertUsable();
    this.queue.push(task);
  }

  private own(tensor: Tensor, operation: string): CpuTensor {
    this.assertUsable();
    if (!(tensor instanceof CpuTensor) || tensor.owner !== this.context)
      throw new Bug(`internal: ${operation} of ${tensor.label}, a tensor of another engine`);
    if (tensor.freed) throw new Bug(`internal: ${operation} of ${tensor.label}, which was freed`);
    return tensor;
  }

  private assertUsable(): void {
    if (this.disposed) throw new Bug('internal: the engine was disposed of');
  }
}
