import type { VerifyReport } from '../pipeline/verify-model.js';
import type { LayerRecord, QuantizeReport } from '../report/quantize-report.js';
import { formatBytes, formatDuration, formatFigure, textTable } from '../report/text-table.js';

/** The report as people read it: one row per linear, then totals. */
export function quantizeText(report: QuantizeReport, verified: readonly VerifyReport[]): string {
  const columns: readonly (readonly [string, (layer: LayerRecord) => string])[] = [
    ['linear', (layer) => layer.name],
    ['method', (layer) => layer.method],
    ['loss', (layer) => formatFigure(layer.loss)],
    ['RTN loss', (layer) => formatFigure(layer.rtnLoss)],
    ['output error', (layer) => formatFigure(layer.relativeOutputError)],
    ['damp', (layer) => formatFigure(layer.damp)],
    ['groups', (layer) => String(layer.groups)],
  ];
  // Data-free methods have no losses: columns without a figure are left out.
  const shown = columns.filter(([, cell]) => report.layers.some((layer) => cell(layer) !== '-'));
  const header = shown.map(([title]) => title);
  const rows = report.layers.map((layer) => shown.map(([, cell]) => cell(layer)));
  const skipped = report.skipped.map(({ name, reason }) => `left in 16-bit: ${name}: ${reason}`);
  const rss = report.peakRssBytes === null ? '' : `, peak RSS ${formatBytes(report.peakRssBytes)}`;
  return [
    textTable(header, rows),
    '',
    ...skipped,
    `${report.layers.length} linears quantized by ${report.method}`,
    `${formatDuration(report.seconds)} on ${report.adapter} (${report.engine.engine} engine), peak engine memory ${formatBytes(report.peakGpuBytes)}${rss}`,
    ...report.outputs.flatMap(({ format, out, bytes, bitsPerWeight }, i) => [
      `${format}: ${formatBytes(bytes)}, ${bitsPerWeight.toFixed(3)} bits per weight, written to ${out}`,
      ...(verified.length === 0 ? [] : [`verified: ${verifiedText(verified[i])}`]),
    ]),
  ].join('\n');
}

function verifiedText({ checks }: VerifyReport): string {
  const failed = checks.filter(({ ok }) => !ok).map(({ name }) => name);
  if (failed.length > 0) return `FAILED (${failed.join(', ')})`;
  return `${checks.length} checks, ${checks.find(({ name }) => name === 'forward')?.detail ?? ''}`;
}
