/**
 * halfbyte: 16-bit checkpoints in, 4-bit models in every local runtime's format out. Everything here is platform-free: engines, byte sources and output
 * folders are passed in. `halfbyte/node` and `halfbyte/web` make them. scripts/library-example.mts is a whole program.
 *
 * @packageDocumentation
 */

// What a program calls.
export type { CalibrationText, QuantizeModelOptions } from './pipeline/quantize-model.js';
export { quantizeModel } from './pipeline/quantize-model.js';
export type { Method, QuantizeSettings } from './pipeline/quantize-settings.js';
export { DEFAULT_SETTINGS, METHODS } from './pipeline/quantize-settings.js';
export type { ConvertModelOptions, ConvertReport } from './pipeline/convert-model.js';
export { convertModel } from './pipeline/convert-model.js';
export type { VerifyCheck, VerifyModelOptions, VerifyReport } from './pipeline/verify-model.js';
export { verifyModel } from './pipeline/verify-model.js';
export type { FormatName } from './export/output-format.js';
export { FORMAT_NAMES } from './export/output-format.js';
export type { EvaluateModelOptions } from './pipeline/evaluate-model.js';
export { evaluateModel } from './pipeline/evaluate-model.js';
export type { InspectReport, TensorRow } from './pipeline/inspect-model.js';
export { inspectModel } from './pipeline/inspect-model.js';
export type { PipelineHost } from './pipeline/pipeline-host.js';

// What comes back.
export type { LayerRecord, OutputRecord, QuantizeReport, SkippedRecord } from './report/quantize-report.js';
export type { CalibrationRecord, RunRecord, SourceRecord } from './report/run-record.js';
export type { DivergenceSummary, Evaluation, EvaluationProtocol, ReferenceComparison } from './eval/index.js';

// What is passed in.
export type { Engine, EngineInfo, HostArray, MemoryUse } from './engine/engine.js';
export type { Tensor, TensorDType } from './engine/tensor.js';
export type { QuantizedLinear } from './core/quantized-linear.js';
export type { QuantSpec, QuantStats } from './quant/index.js';
export type { ByteSource } from './io/byte-source.js';
export { createBlobSource } from './io/blob-source.js';
export { createMemorySource, createTextSource } from './io/memory-source.js';
export type { MemoryFolder } from './io/memory-folder.js';
export { createMemoryFolder } from './io/memory-folder.js';
export type { ByteSink } from './io/byte-sink.js';
export type { OutputFolder } from './io/output-folder.js';
export type { ResolvedModel } from './hub/index.js';
export { resolveModel } from './hub/index.js';
export type { Hasher } from './export/sha256.js';
export { createSha256 } from './export/sha256.js';

// Errors and progress.
export {
  AbortError,
  DeviceError,
  FetchError,
  FormatError,
  HalfbyteError,
  NumericError,
  UserError,
} from './core/errors.js';
export type { NoticeListener, ProgressEvent, ProgressListener } from './core/progress.js';
