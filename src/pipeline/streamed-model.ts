import type { Engine } from '../engine/engine.js';
import type { StreamedModel } from '../model/index.js';
import type { OpenedModel } from './open-model.js';
import { createWeightSource } from './weight-source.js';

/** A model as the layer-streaming code sees it. */
export function streamed(opened: OpenedModel, engine: Engine, signal?: AbortSignal): StreamedModel {
  const { config, checkpoint, quantized } = opened;
  return {
    config,
    source: createWeightSource({ checkpoint, engine, signal, quantized }),
  };
}
