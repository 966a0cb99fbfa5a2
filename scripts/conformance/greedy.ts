/**
 * Greedy continuation by our own forward pass, so that other programs' generation can be compared with it. The whole text
 * is run again for every token: no cache of ours is trusted, and the model is small. `margin` is by how much each chosen
 * token's logit led, since a consumer that computes in 16 bits may differ where it led by little.
 *
 *   tsx scripts/conformance/greedy.ts MODEL IDS TOKENS [DEVICE]      IDS: the prompt, "0,517,283"
 */
import { readReals } from '../../src/engine/engine.js';
import { asMatrix, rowRange } from '../../src/engine/tensor.js';
import { loadHead, runLayers } from '../../src/model/index.js';
import { openModel } from '../../src/pipeline/open-model.js';
import { streamed } from '../../src/pipeline/streamed-model.js';
import { resolveNodeModel } from '../../src/platform/node/model-files.js';
import { openEngine } from '../../src/platform/node/open-engine.js';

const [modelRef, prompt, tokens, device = 'cpu'] = process.argv.slice(2);

const engine = await openEngine({ device });
const opened = await openModel(await resolveNodeModel(modelRef));
const model = streamed(opened, engine);
const { hiddenSize } = opened.config;
const head = await loadHead({ engine, ...model });
const ids = prompt.split(',').map(Number);
const generated: number[] = [];
const margin: number[] = [];

while (generated.length < Number(tokens)) {
  const window = Uint32Array.from([...ids, ...generated]);
  const [{ states }] = await runLayers({ engine, ...model, windows: [window], batchTokens: window.length });
  const x = engine.upload(states, [window.length, hiddenSize], 'f32', 'hidden');
  const tensor = head.logits(rowRange(asMatrix(x), window.length - 1, 1));
  const logits = await readReals(engine, tensor);
  engine.free(x, tensor);
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]);
  generated.push(order[0]);
  margin.push(logits[order[0]] - logits[order[1]]);
}
head.free();
await engine.dispose();
process.stdout.write(`${JSON.stringify({ generated, margin })}\n`);
process.exit(0);
