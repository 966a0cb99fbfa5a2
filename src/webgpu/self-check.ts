import type { Engine } from '../engine/engine.js';

export interface SelfCheckResult {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export async function selfCheck(_engine: Engine): Promise<SelfCheckResult[]> {
  return Promise.resolve([]);
}
