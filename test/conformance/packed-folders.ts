/** What the conformance tests of awq and compressed-tensors share: making folders, asking a consumer, comparing bytes. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { BUNDLED, halfbyte, runPeer, runScript } from './peers.js';

const TEXT = join(BUNDLED, 'evaluation.txt');
const WINDOWS = ['2', '64'];

/** Calibrated where the method asks for it, briefly. */
export function quantize(model: string, out: string, ...flags: readonly string[]): Promise<unknown> {
  return halfbyte(
    'quantize',
    model,
    '--out',
    out,
    '--device',
    'cpu',
    '--samples',
    '8',
    '--seq-len',
    '64',
    ...flags,
  );
}

export function convert(model: string, to: string, out: string): Promise<unknown> {
  return halfbyte('convert', model, '--to', to, '--out', out, '--device', 'cpu');
}

/**
 * What `script` says about the folder `model` beside the numbers of our own codes and the logits of our own forward of
 * `reference`; both are written below `scratch`.
 */
export async function askConsumer(
  script: string,
  scratch: string,
  model: string,
  options: { readonly reference?: string; readonly flags?: readonly string[] } = {},
): Promise<Record<string, unknown>> {
  const [weights, logits] = [join(scratch, 'weights'), join(scratch, 'logits')];
  await runScript('scripts/conformance/dequantized.ts', [model, weights]);
  await runScript('scripts/conformance/logits.ts', [options.reference ?? model, TEXT, logits, ...WINDOWS]);
  return runPeer(script, [
    'check',
    model,
    '--expected',
    join(logits, 'model.safetensors'),
    '--weights',
    join(weights, 'model.safetensors'),
    ...(options.flags ?? []),
  ]);
}

/** Names of the weight files of two folders that are not the same bytes; all names where a folder has none. */
export function differingWeights(a: string, b: string): string[] {
  const names = new Set([...weightFiles(a), ...weightFiles(b)]);
  if (names.size === 0) return [`no weights in ${a} and ${b}`];
  return [...names].filter((name) => {
    const inBoth = weightFiles(a).includes(name) && weightFiles(b).includes(name);
    return !inBoth || !readFileSync(join(a, name)).equals(readFileSync(join(b, name)));
  });
}

function weightFiles(folder: string): string[] {
  return readdirSync(folder).filter((name) => /^model.*\.safetensors/.test(name));
}
