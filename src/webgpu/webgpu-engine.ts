import { Bug, DeviceError } from '../core/errors.js';
import { product } from '../core/dims.js';
import type { Engine } from '../engine/engine.js';
import { GpuContext } from './gpu-context.js';
import { gpuTensor } from './gpu-tensor.js';
import { createLinalgKernels } from './kernels/linalg/index.js';
import { createLinear } from './kernels/linalg/linear.js';
import { createNnKernels } from './kernels/nn/index.js';
import { createQuantKernels } from './kernels/quant/index.js';
import { readTensor } from './read-tensor.js';
import { deviceFacts, featuresInUse, limitsInUse, requestDevice, type LimitsMode } from './request-device.js';
import { selfCheck } from './self-check.js';
import { writeTensor } from './write-tensor.js';

export interface WebGpuEngineOptions {
  readonly adapter: GPUAdapter;
  /** A device of `adapter` to use instead of asking for one; `dispose` destroys it. */
  readonly device?: GPUDevice;
  /** Most bytes of GPU memory; default no bound. */
  readonly budgetBytes?: number;
  /** `default` asks the adapter for no optional feature and no raised limit (tests). */
  readonly limits?: LimitsMode;
  /** Fills new tensors with NaN bits (tests). */
  readonly poison?: boolean;
  /** Overrides what the adapter's name tells about it being a software one. */
  readonly software?: boolean;
  /** Ask known answers before the engine is handed out; default true. */
  readonly selfCheck?: boolean;
}

/** The engine with its device in view, for tests and the bench. */
export interface WebGpuEngine extends Engine {
  readonly context: GpuContext;
}

/** Opens the webgpu engine. DeviceError when the adapter gives no device or answers the self-check wrongly. */
export async function createWebGpuEngine(options: WebGpuEngineOptions): Promise<WebGpuEngine> {
  const { adapter, budgetBytes = Infinity, poison = false } = options;
  const device = options.device ?? (await requestDevice(adapter, options.limits ?? 'raised'));
  const facts = deviceFacts(device, adapter.info, options.software);
  const context = new GpuContext({ device, facts, budgetBytes, poison });
  const engine: WebGpuEngine = {
    ...createLinalgKernels(context),
    ...createNnKernels(context),
    ...createQuantKernels(context),
    ...createLinear(context),
    ...memoryOps(context),
    context,
    maxTensorBytes: facts.maxBindingBytes,
    info: {
      engine: 'webgpu',
      adapter: facts.adapter,
      software: facts.software,
      precision: 'f32',
      features: featuresInUse(device),
      limits: limitsInUse(device),
    },
  };
  if (options.selfCheck ?? true) await refuseWrongAnswers(engine);
  return engine;
}

type MemoryOps = Pick<
  Engine,
  'create' | 'write' | 'upload' | 'read' | 'free' | 'sync' | 'memory' | 'resetPeak' | 'dispose'
>;

function memoryOps(context: GpuContext): MemoryOps {
  const { health, pool, recorder, device } = context;
  const sync = async (): Promise<void> => {
    recorder.submit();
    try {
      await device.queue.onSubmittedWorkDone();
    } catch (cause) {
      throw await health.explain(cause, 'waiting for the device');
    }
    recorder.noteIdle();
    await health.settle();
  };
  return {
    create: (shape, dtype, label, options) => context.create(shape, dtype, label, options?.zero ?? false),
    write: (tensor, data, offset = 0) => writeTensor(context, gpuTensor(tensor), data, offset),
    upload: (data, shape, dtype, label) => {
      const tensor = context.create(shape, dtype, label, false);
      if (data.length !== product(shape) && data.byteLength !== tensor.bytes)
        throw new Bug(`internal: ${data.length} elements for ${label} [${shape.join(', ')}]`);
      writeTensor(context, tensor, data, 0);
      return tensor;
    },
    read: (tensor, offset = 0, count) => readTensor(context, gpuTensor(tensor), offset, count),
    free: (...tensors) => {
      for (const tensor of tensors) context.free(tensor);
    },
    sync,
    memory: () => ({
      allocatedBytes: pool.allocatedBytes,
      peakBytes: pool.peakBytes,
      tensors: context.liveTensors,
      budgetBytes: pool.budgetBytes,
    }),
    resetPeak: () => pool.resetPeak(),
    dispose: () => context.dispose(),
  };
}

async function refuseWrongAnswers(engine: WebGpuEngine): Promise<void> {
  const wrong = (await selfCheck(engine)).filter((check) => !check.ok);
  if (wrong.length === 0) return;
  await engine.dispose();
  throw new DeviceError(
    `${engine.info.adapter} computes wrong answers: ${wrong.map(({ name, detail }) => `${name} (${detail})`).join('; ')}`,
    { advice: 'update the graphics driver, choose another adapter with --device, or use --device cpu' },
  );
}
