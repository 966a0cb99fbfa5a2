/** How far two engines agree on the same job: losses, codes, and what the results predict. */
import type { Evaluation, QuantizeReport } from '../src/index.js';
import { openCheckpoint } from '../src/formats/safetensors/checkpoint.js';
import { resolveNodeModel } from '../src/platform/node/index.js';

interface Finished {
  readonly report: QuantizeReport;
  readonly evaluation: Evaluation;
}

export async function compareFolders(a: Finished, b: Finished): Promise<string[]> {
  const { equal, total } = await compareCodes(a.report.out, b.report.out);
  // Later linears see inputs that earlier rounding has already told apart; the first sees the same.
  const [{ name }] = a.report.layers;
  const first = await compareCodes(a.report.out, b.report.out, `${name}.qweight`);
  const differences = a.report.layers.map((layer, i) =>
    relativeDifference(layer.loss, b.report.layers[i].loss),
  );
  const perplexity = relativeDifference(a.evaluation.perplexity, b.evaluation.perplexity);
  const before = relativeDifference(
    a.evaluation.reference?.perplexity ?? NaN,
    b.evaluation.reference?.perplexity ?? NaN,
  );
  const percent = (share: number): string =>
    share < 1e-5 ? 'less than 0.001 %' : `${(share * 100).toPrecision(3)} %`;
  return [
    `the two engines on the same job: ${percent(first.equal / first.total)} of the codes equal in ${name},`,
    `  ${percent(equal / total)} over all ${a.report.layers.length} linears (a code that differs changes what comes after it),`,
    `  layer losses at most ${percent(Math.max(...differences))} apart, perplexity ${percent(before)} before and ${percent(perplexity)} after`,
  ];
}

function relativeDifference(a: number | null, b: number | null): number {
  if (a === null || b === null) return NaN;
  return Math.abs(a - b) / Math.max(Math.abs(a), Math.abs(b), Number.MIN_VALUE);
}

/** Counts equal 4-bit codes of all quantized linears, or of one tensor. */
async function compareCodes(a: string, b: string, only?: string): Promise<{ equal: number; total: number }> {
  const [first, second] = await Promise.all(
    [a, b].map(async (folder) => openCheckpoint((await resolveNodeModel(folder)).files)),
  );
  let equal = 0;
  let total = 0;
  for (const name of first.tensors.keys()) {
    if (!name.endsWith('.qweight') || (only !== undefined && name !== only)) continue;
    const [x, y] = await Promise.all([first.read(name), second.read(name)]);
    total += x.length * 2;
    for (let i = 0; i < x.length; i++) {
      const changed = x[i] ^ y[i];
      equal += Number((changed & 0x0f) === 0) + Number((changed & 0xf0) === 0);
    }
  }
  return { equal, total };
}
