/**
 * node-llama-cpp as a program loads a GGUF file with it: greedy tokens after each prompt, ids of texts.
 *
 *   node-llama-cpp.mjs MODEL.gguf IDS.json COUNT [TEXTS.json]      prints { tokens, ids, context }
 */
import { readFileSync } from 'node:fs';
import { getLlama } from 'node-llama-cpp';

const [modelPath, idsFile, count, textsFile] = process.argv.slice(2);
const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));

// One thread: on shared machines idle threads that spin cost more than they bring.
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: 1 });
const model = await llama.loadModel({ modelPath });
const prompts = readJson(idsFile);
const longest = Math.max(...prompts.map((prompt) => prompt.length));
const contextSize = longest + Number(count);
const tokens = [];
for (const prompt of prompts) {
  const context = await model.createContext({ contextSize, batchSize: contextSize, threads: 1 });
  const made = [];
  const options = { temperature: 0, yieldEogToken: true };
  for await (const token of context.getSequence().evaluate(prompt, options)) {
    made.push(token);
    if (made.length === Number(count)) break;
  }
  tokens.push(made);
  await context.dispose();
}
const ids = textsFile === undefined ? [] : readJson(textsFile).map((text) => model.tokenize(text, true));
console.log(JSON.stringify({ tokens, ids, context: model.trainContextSize }));
await llama.dispose();
