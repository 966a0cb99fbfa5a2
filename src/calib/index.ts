/** Calibration: decoder layers and text in, quantized linears out. */
export { quantizeLayer } from './quantize-layer.js';
export type { CalibratedLinear, QuantizeLayerOptions } from './quantize-layer.js';
export { awqLayer } from './awq-layer.js';
