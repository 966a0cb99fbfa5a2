/** Perplexity and divergence from a reference, with streamed layers and logits. */
export type { EvaluateOptions } from './evaluate.js';
export { evaluateModel } from './evaluate.js';
export type { DivergenceSummary, Evaluation, EvaluationProtocol, ReferenceComparison } from './protocol.js';
