/**
 * The header of a GGUF file (or of every part of a split one) as @huggingface/gguf reads it.
 *
 *   huggingface-gguf.mjs FILE.gguf…      prints { files: [{ metadata, tensors }] }; long arrays as their lengths
 */
import { gguf } from '@huggingface/gguf';

const shorten = (value) => {
  if (typeof value === 'bigint') return Number(value);
  return Array.isArray(value) && value.length > 16 ? value.length : value;
};

const files = [];
for (const file of process.argv.slice(2)) {
  const { metadata, tensorInfos } = await gguf(file, { allowLocalFile: true });
  files.push({
    metadata: Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, shorten(value)])),
    tensors: tensorInfos.map(({ name, dtype, shape }) => ({ name, type: dtype, shape: shape.map(Number) })),
  });
}
console.log(JSON.stringify({ files }));
