import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { BUNDLED, halfbyte, runPeer, withFolder } from './peers.js';

/**
 * Plan: the bundled model at 4 bits, groups of 128, quantized and evaluated by every engine and by an independent PyTorch
 * implementation of the whole pipeline (classic GPTQ with an explicit inverse, column by column, float64). Perplexities
 * within 0.5 % of one another; KLD at least 25 % below that of round-to-nearest. Fewer windows than the defaults, the same
 * for all, so that the float64 oracle and the software adapter finish in minutes.
 */
const SAMPLES = '16';
const SEQ_LEN = '128';
const EVALUATION_WINDOWS = '24';
const TEXT = join(BUNDLED, 'evaluation.txt');

interface Outcome {
  readonly perplexity: number;
  readonly kld: number;
}

interface EvaluationJson {
  readonly perplexity: number;
  readonly reference: { readonly perplexity: number; readonly kld: { readonly mean: number } };
}

async function ours(device: string, method: 'gptq' | 'rtn' = 'gptq'): Promise<Outcome> {
  return withFolder(async (folder) => {
    const model = join(folder, 'model');
    const calibration = [
      '--calib',
      join(BUNDLED, 'calibration.txt'),
      '--samples',
      SAMPLES,
      '--seq-len',
      SEQ_LEN,
    ];
    const flags = ['--method', method, ...(method === 'gptq' ? calibration : [])];
    await halfbyte('quantize', BUNDLED, '--out', model, '--device', device, ...flags);
    // One judge for all folders: the float64 engine.
    const judged = [
      '--reference',
      BUNDLED,
      '--text',
      TEXT,
      '--seq-len',
      SEQ_LEN,
      '--max-windows',
      EVALUATION_WINDOWS,
    ];
    const result = (await halfbyte(
      'evaluate',
      model,
      ...judged,
      '--device',
      'cpu-f64',
    )) as unknown as EvaluationJson;
    return { perplexity: result.perplexity, kld: result.reference.kld.mean };
  });
}

/** Layer losses with so many refinement sweeps, in the order of quantization. */
async function losses(sweeps: string): Promise<readonly { readonly name: string; readonly loss: number }[]> {
  return withFolder(async (folder) => {
    const sizes = ['--samples', SAMPLES, '--seq-len', SEQ_LEN, '--refine', sweeps];
    const report = await halfbyte(
      'quantize',
      BUNDLED,
      '--out',
      join(folder, 'model'),
      '--device',
      'cpu',
      ...sizes,
    );
    return report.layers as { name: string; loss: number }[];
  });
}

async function theirs(method: string): Promise<Outcome> {
  const sizes = ['--samples', SAMPLES, '--seq-len', SEQ_LEN, '--max-windows', EVALUATION_WINDOWS];
  const files = ['--model', BUNDLED, '--calib', join(BUNDLED, 'calibration.txt'), '--text', TEXT];
  const result = await runPeer('reference_pipeline.py', [
    ...files,
    ...sizes,
    '--method',
    method,
    '--dtype',
    'float64',
  ]);
  return { perplexity: Number(result.ppl), kld: Number(result.kld_mean) };
}

describe('the whole pipeline against PyTorch and the float64 oracle', () => {
  const gptq: Record<string, Outcome> = {};
  let rtn: Outcome;

  beforeAll(async () => {
    gptq.pytorch = await theirs('gptq');
    for (const device of ['cpu-f64', 'cpu', 'llvmpipe']) gptq[device] = await ours(device);
    rtn = await ours('cpu', 'rtn');
    process.stdout.write(`${JSON.stringify({ gptq, rtn })}\n`);
  });

  it.each(['cpu', 'llvmpipe', 'pytorch'])('%s has the oracle’s perplexity within half a percent', (name) => {
    const ratio = gptq[name].perplexity / gptq['cpu-f64'].perplexity;
    expect(Math.abs(ratio - 1)).toBeLessThanOrEqual(0.005);
  });

  it.each(['cpu-f64', 'cpu', 'llvmpipe', 'pytorch'])(
    '%s has a KLD at least a quarter below round-to-nearest',
    (name) => {
      expect(gptq[name].kld).toBeLessThanOrEqual(0.75 * rtn.kld);
    },
  );

  it('agrees with PyTorch on round-to-nearest', async () => {
    const peer = await theirs('rtn');
    expect(Math.abs(peer.perplexity / rtn.perplexity - 1)).toBeLessThanOrEqual(1e-4);
    expect(Math.abs(peer.kld / rtn.kld - 1)).toBeLessThanOrEqual(0.01);
  });

  it('refinement lowers the loss of every linear', async () => {
    const [plain, refined] = await Promise.all([losses('0'), losses('2')]);
    expect(plain.length).toBe(28);
    refined.forEach(({ name, loss }, i) => {
      expect(loss, name).toBeLessThan(plain[i].loss);
    });
  });
});
