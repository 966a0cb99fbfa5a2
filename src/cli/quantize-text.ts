import type { QuantizeReport } from '../report/quantize-report.js';
import { formatBytes, formatDuration, formatFigure, textTable } from '../report/text-table.js';

/** The report as people read it: one row per linear, then totals. */
export function quantizeText(report: QuantizeReport): string {
  const rows = report.layers.map((layer) => [
    layer.name,
    formatFigure(layer.loss),
    formatFigure(layer.rtnLoss),
    formatFigure(layer.relativeOutputError),
    formatFigure(layer.damp),
    String(layer.groups),
  ]);
  const header = ['linear', 'loss', 'RTN loss', 'output error', 'damp', 'groups'];
  const skipped = report.skipped.map(({ name, reason }) => `left in 16-bit: ${name}: ${reason}`);
  const rss = report.peakRssBytes === null ? '' : `, peak RSS ${formatBytes(report.peakRssBytes)}`;
  return [
    textTable(header, rows),
    '',
    ...skipped,
    `${report.layers.length} linears quantized by ${report.method}, ${report.bitsPerWeight.toFixed(3)} bits per weight, ${formatBytes(report.bytes)} of weights`,
    `${formatDuration(report.seconds)} on ${report.adapter} (${report.engine.engine} engine), peak engine memory ${formatBytes(report.peakGpuBytes)}${rss}`,
    `written to ${report.out}`,
  ].join('\n');
}
