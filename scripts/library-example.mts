// Quantizes a model and measures what it cost, without the command line.
// Run: node --import tsx scripts/library-example.mts MODEL OUT TEXT
import { basename } from 'node:path';
import { DEFAULT_SETTINGS, evaluateModel, quantizeModel } from 'halfbyte';
import { createOutputFolder, nodeHost, openEngine, openFileSource, resolveNodeModel } from 'halfbyte/node';

const [modelPath, out, textPath] = process.argv.slice(2);

// 'auto' takes a real GPU, else the CPU; 'lavapipe', 'cpu', 'cpu-f64' … by name.
const engine = await openEngine({ device: process.env.DEVICE ?? 'auto' });
const model = await resolveNodeModel(modelPath);
const text = await openFileSource(textPath);

const report = await quantizeModel({
  model,
  engine,
  settings: {
    ...DEFAULT_SETTINGS,
    bits: 4,
    groupSize: 32,
    samples: 16,
  },
  calibration: { source: text, label: basename(textPath) },
  openOutput: (expectedBytes) => createOutputFolder(out, { expectedBytes, overwrite: true }),
  host: nodeHost(),
});
const worst = report.layers.reduce((a, b) =>
  (a.relativeOutputError ?? 0) > (b.relativeOutputError ?? 0) ? a : b,
);
console.log(`${report.layers.length} linears at ${report.bitsPerWeight.toFixed(2)} bits per weight`);
console.log(`largest output error: ${worst.relativeOutputError?.toExponential(1)} in ${worst.name}`);

const result = await evaluateModel({
  model: await resolveNodeModel(report.out),
  reference: model,
  engine,
  text,
  maxWindows: 8,
});
console.log(`perplexity ${result.reference?.perplexity.toFixed(3)} → ${result.perplexity.toFixed(3)}`);
console.log(`mean KLD ${result.reference?.kld.mean.toFixed(4)}`);

await engine.dispose();
process.exit(0); // a WebGPU device keeps Node alive
