import { existsSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { UserError } from '../../core/errors.js';
import type { NoticeListener, ProgressListener } from '../../core/progress.js';
import type { ResolvedModel } from '../../hub/index.js';
import { resolveModel } from '../../hub/index.js';
import { createHubCache } from './files/hub-cache.js';
import { openLocalModel } from './files/local-model.js';
import type { Environment } from './options.js';
import { readEnvironment } from './options.js';

export interface ResolveNodeOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
  readonly onNotice?: NoticeListener;
  /** Default: the process's environment (HF_TOKEN, HF_ENDPOINT, HF_HOME …). */
  readonly environment?: Environment;
}

/**
 * A folder, a .safetensors file beside its config.json, or a Hub id "owner/name[@revision]" → its files. Hub files are
 * downloaded into the cache that the Python client shares.
 */
export async function resolveNodeModel(
  model: string,
  options: ResolveNodeOptions = {},
): Promise<ResolvedModel> {
  const { environment = readEnvironment(), ...listeners } = options;
  const resolved = await resolveModel(model, {
    openLocal: openLocalModel,
    cache: createHubCache(environment.hubCache),
    endpoint: environment.hubEndpoint,
    token: environment.hubToken,
    ...listeners,
  });
  // "." and "../x" say little in messages and nothing in a model card.
  return resolved.source === 'local' ? { ...resolved, name: resolve(model) } : resolved;
}

export interface OutputCheck {
  readonly out: string;
  /** MODEL as given. */
  readonly model: string;
  readonly overwrite: boolean;
}

/**
 * Refuses, before anything is downloaded, an output folder that stands already, and one that is or holds the model it
 * would be made from: replacing it would destroy the original.
 */
export async function checkOutput({ out, model, overwrite }: OutputCheck): Promise<void> {
  const target = resolve(out);
  if (!existsSync(target)) return;
  if (!overwrite)
    throw new UserError(`${target} already exists`, {
      advice: 'choose another --out, or add --overwrite to replace it',
    });
  if (!existsSync(model)) return;
  const place = await realpath(model);
  const folder = (await stat(place)).isDirectory() ? place : dirname(place);
  const replaced = await realpath(target);
  if (folder === replaced || folder.startsWith(`${replaced}/`))
    throw new UserError(`${target} holds the model that is to be quantized; --overwrite would destroy it`, {
      advice: 'choose another --out',
    });
}
