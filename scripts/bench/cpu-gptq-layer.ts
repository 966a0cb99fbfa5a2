/**
 * Times GPTQ of one decoder layer of the 1.1-billion-parameter Llama shape on the cpu engine: synthetic weights and
 * inputs, 4 bits, group size 128, symmetric. Prints one JSON document: seconds and processor seconds per stage. For a
 * profile by operation run it under `node --cpu-prof --import tsx`.
 *
 *   npx tsx scripts/bench/cpu-gptq-layer.ts [--hidden 2048] [--intermediate 5632] [--tokens 2048] [--plain] [--compare] [--threads N]
 */
import { parseArgs } from 'node:util';
import { createRng } from '../../src/core/rng.js';
import { createCpuEngine } from '../../src/cpu/engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import { openCpuEngine } from '../../src/platform/node/cpu/open.js';
import {
  accumulateHessian,
  createHessian,
  finishHessian,
  freeHessian,
  quantizeLinear,
} from '../../src/quant/index.js';
import type { QuantSpec } from '../../src/quant/index.js';

const SPEC: QuantSpec = {
  method: 'gptq',
  rule: 'symmetric',
  bits: 4,
  groupSize: 128,
  order: 'natural',
  staticGroups: false,
  damp: 0.01,
  range: 'minmax',
  refine: 0,
  minZero: 0,
};

interface Group {
  readonly name: string;
  /** K of the linears that share these inputs. */
  readonly inputs: number;
  readonly linears: readonly { readonly name: string; readonly outputs: number }[];
}

interface StageTime {
  readonly stage: string;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

function layerGroups(hidden: number, intermediate: number): Group[] {
  const kv = hidden / 8;
  const linear = (name: string, outputs: number) => ({ name, outputs });
  return [
    { name: 'qkv', inputs: hidden, linears: [linear('q', hidden), linear('k', kv), linear('v', kv)] },
    { name: 'o', inputs: hidden, linears: [linear('o', hidden)] },
    { name: 'gate_up', inputs: hidden, linears: [linear('gate', intermediate), linear('up', intermediate)] },
    { name: 'down', inputs: intermediate, linears: [linear('down', hidden)] },
  ];
}

/** Inputs [n, K] with neighbouring columns correlated, so that GPTQ has something to do. */
function makeInputs(tokens: number, columns: number, seed: number): Float32Array {
  const rng = createRng(seed);
  const data = new Float32Array(tokens * columns);
  for (let i = 0; i < data.length; i++) {
    const fresh = rng.next() + rng.next() - 1;
    data[i] = i % columns === 0 ? fresh : 0.6 * data[i - 1] + 0.8 * fresh;
  }
  return data;
}

function makeWeights(rows: number, columns: number, seed: number): Float32Array {
  const rng = createRng(seed);
  return Float32Array.from({ length: rows * columns }, () => (rng.next() + rng.next() - 1) * 0.05);
}

async function timed<T>(stage: string, times: StageTime[], work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const cpu = process.cpuUsage();
  const result = await work();
  const used = process.cpuUsage(cpu);
  times.push({
    stage,
    seconds: (performance.now() - start) / 1000,
    cpuSeconds: (used.user + used.system) / 1e6,
  });
  return result;
}

async function quantizeGroup(
  engine: Engine,
  group: Group,
  options: { readonly tokens: number; readonly compare: boolean },
  times: StageTime[],
): Promise<void> {
  const { inputs } = group;
  const { tokens, compare } = options;
  const x = engine.upload(makeInputs(tokens, inputs, inputs), [tokens, inputs], 'f32', 'inputs');
  const weights = group.linears.map(({ outputs }, i) =>
    engine.upload(makeWeights(outputs, inputs, i), [outputs, inputs], 'f32', 'weight'),
  );
  const hessian = await timed(`${group.name} hessian`, times, () => {
    const sum = createHessian(engine, inputs, group.name);
    accumulateHessian(engine, sum, asMatrix(x));
    return finishHessian(engine, sum, group.name);
  });
  engine.free(x);
  for (const [i, { name, outputs }] of group.linears.entries()) {
    const { weight, stats } = await timed(`${name} quantize`, times, () =>
      quantizeLinear(engine, {
        name,
        weight: { kind: 'dense', tensor: weights[i] },
        outFeatures: outputs,
        inFeatures: inputs,
        hessian,
        spec: SPEC,
        compare,
      }),
    );
    engine.free(weight.codes, weight.scales, weight.zeros, weight.groupOf, weights[i]);
    if (compare && !((stats.loss ?? NaN) < (stats.rtnLoss ?? NaN)))
      throw new Error(`${name}: GPTQ is not below RTN`);
  }
  freeHessian(engine, hessian);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      hidden: { type: 'string', default: '2048' },
      intermediate: { type: 'string', default: '5632' },
      tokens: { type: 'string', default: '2048' },
      plain: { type: 'boolean', default: false },
      compare: { type: 'boolean', default: false },
      threads: { type: 'string' },
    },
  });
  const engine = values.plain
    ? createCpuEngine({ precision: 'f32' })
    : await openCpuEngine(values.threads === undefined ? {} : { threads: Number(values.threads) });
  const times: StageTime[] = [];
  for (const group of layerGroups(Number(values.hidden), Number(values.intermediate)))
    await quantizeGroup(engine, group, { tokens: Number(values.tokens), compare: values.compare }, times);
  const total = (key: 'seconds' | 'cpuSeconds') => times.reduce((sum, time) => sum + time[key], 0);
  const report = {
    engine: engine.info,
    stages: times,
    seconds: total('seconds'),
    cpuSeconds: total('cpuSeconds'),
    peakBytes: engine.memory().peakBytes,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
  };
  console.log(JSON.stringify(report, null, 1));
  await engine.dispose();
}

await main();
