/** Quantizers: weights and Hessians in, records out. No file format, no model. */
export { quantizeCodebookLinear } from './codebook.js';
export type { DenseRuns, QuantizeCodebookOptions } from './codebook.js';
export { restoreAbsmax } from './double-quantize.js';
export type { NestedAbsmax } from './double-quantize.js';
export { canClip, searchClip } from './awq-clip.js';
export { roundingLoss, searchInputScales } from './awq.js';
export type { InputScales } from './awq.js';
export { exactForm } from './quadratic-form.js';
export { accumulateHessian, createHessian, finishHessian, freeHessian, freeHessianSum } from './hessian.js';
export type { Hessian, HessianSum } from './hessian.js';
export { quantizeLinear } from './quantize-linear.js';
export type { QuantizeLinearOptions, QuantizeLinearResult } from './quantize-linear.js';
export { readQuantizedLinear } from './read-quantized-linear.js';
export type { QuantizedWeight, QuantSpec, QuantStats } from './records.js';
export { groupSizeProblem, resolveGroupSize, shapeProblems, specProblems } from './shape.js';
export type { LinearShape } from './shape.js';
export { uploadQuantized } from './upload-quantized.js';
