import { createCpuEngine } from '../../src/cpu/engine.js';
import { openWebGpu } from '../../src/platform/web/open-web-gpu.js';
import { BEHAVIOURS } from './table.js';

/** What the page sends back. */
export interface PageReport {
  readonly adapter: string;
  readonly rows: readonly { readonly name: string; readonly problem: string }[];
  /** Set when the table could not be run at all. */
  readonly failure?: string;
}

async function runTable(): Promise<PageReport> {
  const judge = createCpuEngine({ precision: 'f64' });
  const engine = await openWebGpu({ poison: true });
  const rows = [];
  for (const { name, run } of BEHAVIOURS)
    rows.push({
      name,
      problem: await run(engine, judge).catch((error: unknown) => `threw ${String(error)}`),
    });
  const report = { adapter: engine.info.adapter, rows };
  await engine.dispose();
  return report;
}

const report = await runTable().catch((error: unknown): PageReport => ({
  adapter: '',
  rows: [],
  failure: String(error),
}));
await fetch('/report', { method: 'POST', body: JSON.stringify(report) });
