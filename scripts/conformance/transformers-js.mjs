// transformers.js on an ONNX folder of ours, from the disk only:
//   transformers-js.mjs FOLDER [--dtype q4|q4f16] --prompt TEXT --tokens N
// prints {"prompt": ids, "generated": ids, "text": the continuation}. Without --dtype config.json chooses.
import { basename, dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { AutoModelForCausalLM, AutoTokenizer, env } from '@huggingface/transformers';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dtype: { type: 'string' },
    prompt: { type: 'string' },
    tokens: { type: 'string', default: '32' },
  },
});
env.allowRemoteModels = false;
env.useFSCache = false;
env.localModelPath = `${dirname(positionals[0])}/`;
const name = basename(positionals[0]);

const tokenizer = await AutoTokenizer.from_pretrained(name);
const model = await AutoModelForCausalLM.from_pretrained(
  name,
  values.dtype === undefined ? {} : { dtype: values.dtype },
);
const inputs = tokenizer(values.prompt);
const prompt = Array.from(inputs.input_ids.data, Number);
const output = await model.generate({ ...inputs, max_new_tokens: Number(values.tokens), do_sample: false });
const generated = Array.from(output.data, Number).slice(prompt.length);
const text = tokenizer.decode(generated, { skip_special_tokens: true });
process.stdout.write(`${JSON.stringify({ prompt, generated, text })}\n`);
process.exit(0);
