import { describe, expect, it } from 'vitest';
import { UserError } from '../../src/core/errors.js';
import { chooseWeightFiles } from '../../src/hub/needed-files.js';

const noIndex = (): Promise<string> => Promise.reject(new Error('there is no index'));
const choose = (...paths: string[]): Promise<string[]> => chooseWeightFiles(paths, noIndex);

describe('chooseWeightFiles', () => {
  it('prefers safetensors to everything else', async () => {
    expect(await choose('a.gguf', 'onnx/model_q4.onnx', 'model.safetensors')).toEqual(['model.safetensors']);
    expect(await choose('a.gguf', 'part.safetensors', 'consolidated.safetensors')).toEqual([
      'part.safetensors',
    ]);
  });

  it('takes the one GGUF model with all its parts, and leaves a choice to the person', async () => {
    const parts = ['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf'];
    expect(await choose('config.json', ...parts)).toEqual(parts);
    const several = choose('m-q4_0.gguf', 'm-q8_0.gguf');
    await expect(several).rejects.toBeInstanceOf(UserError);
    await expect(several).rejects.toThrow(/2 GGUF models:\n.*m-q4_0\.gguf\n.*m-q8_0\.gguf/);
  });

  it('takes the 4-bit ONNX model with its external data', async () => {
    const files = ['onnx/model_q4.onnx', 'onnx/model_q4.onnx_data', 'onnx/model_q4.onnx_data_1'];
    expect(await choose('onnx/model.onnx', 'onnx/model_fp16.onnx', ...files)).toEqual(files);
    expect(await choose('onnx/model_fp16.onnx')).toEqual([]);
  });
});
