import { product } from '../core/dims.js';
import { UserError } from '../core/errors.js';
import type { Engine } from './engine.js';
import type { Tensor } from './tensor.js';

/** Rows [start, start + rows) of a matrix that is cut into panels. */
export interface RowPanel {
  readonly start: number;
  readonly rows: number;
}

/**
 * Cuts `rows` rows of `rowBytes` bytes each into panels of at most `maxBytes`, every panel but the last a multiple of
 * `multiple` rows. Errors when `multiple` rows do not fit.
 */
export function planRowPanels(rows: number, rowBytes: number, maxBytes: number, multiple = 1): RowPanel[] {
  const fitting = Math.floor(maxBytes / rowBytes / multiple) * multiple;
  if (fitting < multiple && rows > fitting)
    throw new UserError(
      `${multiple} matrix rows of ${rowBytes} bytes exceed the device's largest tensor of ${maxBytes} bytes`,
      { advice: 'choose another device with --device, for example --device cpu' },
    );
  const panels: RowPanel[] = [];
  for (let start = 0; start < rows; start += fitting)
    panels.push({ start, rows: Math.min(fitting, rows - start) });
  return panels;
}

/** Owns tensors made during one step and frees them together. */
export class TensorScope {
  private readonly owned: Tensor[] = [];

  constructor(private readonly engine: Engine) {}

  /** Takes ownership of a tensor and returns it. */
  own<T extends Tensor>(tensor: T): T {
    this.owned.push(tensor);
    return tensor;
  }

  create(shape: readonly number[], label: string, options?: { readonly zero?: boolean }): Tensor {
    return this.own(this.engine.create(shape, 'f32', `${label} [${product(shape)}]`, options));
  }

  dispose(): void {
    this.engine.free(...this.owned);
    this.owned.length = 0;
  }
}
