import { describe, expect, it } from 'vitest';
import { licenseOf } from '../../src/export/model-card.js';
import { sideFiles } from '../../src/export/side-files.js';

describe('sideFiles', () => {
  it('keeps tokenizer, templates, licence and code; leaves weights and what is written anew', () => {
    const kept = [
      ...['LICENSE', 'additional_chat_templates/tool.jinja', 'chat_template.jinja', 'generation_config.json'],
      ...[
        'merges.txt',
        'modeling_x.py',
        'special_tokens_map.json',
        'tokenizer.json',
        'tokenizer.model',
        'vocab.json',
      ],
    ];
    const left = [
      ...['config.json', 'README.md', 'quantize_config.json', 'halfbyte.json', '.gitattributes'],
      ...['model.safetensors', 'model-00001-of-00002.safetensors', 'model.safetensors.index.json'],
      ...[
        'pytorch_model.bin',
        'pytorch_model.bin.index.json',
        'model.gguf',
        'onnx/model.onnx',
        'original/params.json',
      ],
    ];
    expect(sideFiles([...left, ...kept])).toEqual(kept);
  });
});

describe('licenseOf', () => {
  it('reads the front matter of a card and nothing else', () => {
    expect(licenseOf('---\nlicense: apache-2.0\ntags: [x]\n---\n# A model')).toBe('apache-2.0');
    expect(licenseOf('---\ntags: [x]\n---\nlicense: mit')).toBe(undefined);
    expect(licenseOf('# no front matter')).toBe(undefined);
  });
});
