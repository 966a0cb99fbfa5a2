/**
 * `npm run bench`: ceilings of the device, hot operations at model-like shapes as shares of them, then whole GPTQ of one
 * decoder layer of a 1.1-billion-parameter Llama. A table for people on stderr, one JSON document on stdout.
 *
 *   npm run bench -- [--device cpu|NAME]… [--quick] [--no-layer] [--out FILE]
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Engine, EngineInfo } from '../../src/engine/engine.js';
import { openEngine } from '../../src/platform/node/open-engine.js';
import { textTable } from '../../src/report/text-table.js';
import type { Ceilings } from './ceilings.js';
import { measureCeilings } from './ceilings.js';
import type { LayerResult } from './decoder-layer.js';
import { measureLayer } from './decoder-layer.js';
import type { OperationResult, Shape } from './operations.js';
import { measureOperations } from './operations.js';

const FULL: Shape = { hidden: 2048, intermediate: 5632, heads: 32, kvHeads: 4, tokens: 2048 };
/** An eighth in every direction: for software adapters, whose shares do not depend much on size. */
const QUICK: Shape = { hidden: 256, intermediate: 768, heads: 8, kvHeads: 4, tokens: 256 };

interface DeviceResult {
  readonly engine: EngineInfo;
  readonly shape: Shape;
  readonly ceilings: Ceilings;
  readonly operations: readonly OperationResult[];
  readonly layers: readonly LayerResult[];
}

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

async function measureDevice(engine: Engine, shape: Shape, withLayer: boolean): Promise<DeviceResult> {
  const { info } = engine;
  say(`\n${info.engine} engine on ${info.adapter}${info.software ? ' (software)' : ''}`);
  const ceilings = await measureCeilings(engine);
  const giga = (value: number): string => (value / 1e9).toFixed(value < 1e10 ? 2 : 0);
  say(
    `ceilings: ${giga(ceilings.flops)} GFLOP/s (${ceilings.flopsFrom}), copy ${giga(ceilings.copyBytes)} GB/s`,
  );
  const operations = await measureOperations(engine, shape, ceilings);
  const rows = operations.map(({ operation, seconds, flops, bytes, share, boundBy }) => [
    operation,
    (seconds * 1000).toFixed(2),
    giga(flops / seconds),
    giga(bytes / seconds),
    `${(100 * share).toFixed(0)} %`,
    boundBy,
  ]);
  say(textTable(['operation', 'ms', 'GFLOP/s', 'GB/s', 'of ceiling', 'bound by'], rows));
  const layers: LayerResult[] = [];
  for (const compare of withLayer ? [false, true] : []) {
    const layer = await measureLayer(engine, shape, compare);
    layers.push(layer);
    say(
      `GPTQ of one layer${compare ? ' with comparison to RTN' : ''}: ${layer.seconds.toFixed(2)} s, peak ${(layer.peakGpuBytes / 2 ** 20).toFixed(0)} MiB (${(100 * layer.peakShare).toFixed(0)} % of weights + largest Hessian + one micro-batch), host RSS ${(layer.peakRssBytes / 2 ** 20).toFixed(0)} MiB`,
    );
    say(
      textTable(
        ['stage', 's'],
        Object.entries(layer.stages).map(([stage, seconds]) => [stage, seconds.toFixed(2)]),
      ),
    );
  }
  return { engine: info, shape, ceilings, operations, layers };
}

const { values } = parseArgs({
  options: {
    device: { type: 'string', multiple: true, default: ['auto'] },
    quick: { type: 'boolean', default: false },
    'no-layer': { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});

const results: DeviceResult[] = [];
for (const device of values.device) {
  const engine = await openEngine({ device, onNotice: say });
  const shape = values.quick ? QUICK : FULL;
  results.push(await measureDevice(engine, shape, !values['no-layer']));
  await engine.dispose();
}
const json = `${JSON.stringify({ node: process.version, platform: `${process.platform}-${process.arch}`, results }, null, 2)}\n`;
if (values.out === undefined) process.stdout.write(json);
else writeFileSync(values.out, json);
process.exit(0);
