import type { Engine, HostArray } from '../../src/engine/engine.js';
import { elementCount } from '../../src/engine/tensor.js';
import type { Tensor, TensorDType } from '../../src/engine/tensor.js';

export interface StrictOptions {
  /** Pretend that no tensor may be larger. */
  readonly maxTensorBytes?: number;
}

/**
 * The same engine, harder to please: memory nobody wrote holds NaN (f32), and a smaller limit on tensors can be
 * pretended. Code that passes on it does not lean on fresh memory being zero.
 */
export function strictEngine(engine: Engine, options: StrictOptions = {}): Engine {
  const maxTensorBytes = options.maxTensorBytes ?? engine.maxTensorBytes;
  const create: Engine['create'] = (shape, dtype, label, createOptions) => {
    const tensor = engine.create(shape, dtype, label, createOptions);
    const bytes = elementCount(tensor) * (dtype === 'u8' ? 1 : dtype === 'f16' || dtype === 'bf16' ? 2 : 4);
    if (bytes > maxTensorBytes) throw new RangeError(`${label}: ${bytes} bytes exceed ${maxTensorBytes}`);
    if (createOptions?.zero !== true) engine.write(tensor, garbage(tensor, dtype));
    return tensor;
  };
  return new Proxy(engine, {
    get(target, property) {
      if (property === 'create') return create;
      if (property === 'maxTensorBytes') return maxTensorBytes;
      const value: unknown = Reflect.get(target, property);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

function garbage(tensor: Tensor, dtype: TensorDType): HostArray {
  const count = elementCount(tensor);
  switch (dtype) {
    case 'f32':
      return new Float32Array(count).fill(NaN);
    case 'u32':
      return new Uint32Array(count).fill(0xdeadbeef);
    case 'u8':
      return new Uint8Array(count).fill(0xff);
    case 'f16':
    case 'bf16':
      return new Uint16Array(count).fill(0x7fc0);
  }
}
