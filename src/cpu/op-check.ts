import { Bug } from '../core/errors.js';
import { elementCount } from '../engine/tensor.js';
import type { MatrixView, Tensor, TensorDType } from '../engine/tensor.js';
import { CpuTensor } from './tensor/cpu-tensor.js';

/**
 * Collects what is wrong with the operands of one operation, so that the error lists all of it. Checks run when the
 * operation is recorded.
 */
export class OpCheck {
  private readonly problems: string[] = [];

  constructor(
    private readonly operation: string,
    private readonly owner: object,
  ) {}

  /** The tensor belongs to this engine, is not freed, and has one of the dtypes. */
  tensor(name: string, tensor: Tensor, dtypes: readonly TensorDType[], length?: number): this {
    if (!(tensor instanceof CpuTensor) || tensor.owner !== this.owner)
      this.problems.push(`${name} (${tensor.label}) belongs to another engine`);
    else if (tensor.freed) this.problems.push(`${name} (${tensor.label}) was freed`);
    if (!dtypes.includes(tensor.dtype))
      this.problems.push(`${name} (${tensor.label}) is ${tensor.dtype}, expected ${dtypes.join(' or ')}`);
    if (length !== undefined)
      this.least(`elements of ${name} (${tensor.label})`, elementCount(tensor), length);
    return this;
  }

  /** The view lies inside its tensor and has the given rows and columns. */
  view(name: string, view: MatrixView, dtypes: readonly TensorDType[], rows?: number, cols?: number): this {
    this.tensor(name, view.tensor, dtypes);
    const end = view.rows === 0 ? 0 : view.offset + (view.rows - 1) * view.stride + view.cols;
    if (view.offset < 0 || view.stride < view.cols || end > elementCount(view.tensor))
      this.problems.push(
        `${name} (${view.tensor.label}) [${view.rows}, ${view.cols}] at ${view.offset}, stride ${view.stride}, ` +
          `leaves its ${elementCount(view.tensor)} elements`,
      );
    if (rows !== undefined) this.equal(`rows of ${name} (${view.tensor.label})`, view.rows, rows);
    if (cols !== undefined) this.equal(`columns of ${name} (${view.tensor.label})`, view.cols, cols);
    return this;
  }

  equal(what: string, actual: number, expected: number): this {
    if (actual !== expected) this.problems.push(`${what}: ${actual}, expected ${expected}`);
    return this;
  }

  most(what: string, actual: number, limit: number): this {
    if (!(actual <= limit)) this.problems.push(`${what}: ${actual}, at most ${limit}`);
    return this;
  }

  least(what: string, actual: number, limit: number): this {
    if (!(actual >= limit)) this.problems.push(`${what}: ${actual}, at least ${limit}`);
    return this;
  }

  that(condition: boolean, problem: string): this {
    if (!condition) this.problems.push(problem);
    return this;
  }

  /** Throws a Bug that lists every problem found. */
  done(): void {
    if (this.problems.length > 0) throw new Bug(`internal: ${this.operation}: ${this.problems.join('; ')}`);
  }
}
