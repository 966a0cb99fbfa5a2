/** Weights, and files this run writes itself; everything else beside a model travels along. */
const NOT_COPIED_EXTENSIONS = [
  '.safetensors',
  '.safetensors.index.json',
  '.bin',
  '.bin.index.json',
  '.pt',
  '.pth',
  '.ckpt',
  '.h5',
  '.msgpack',
  '.gguf',
  '.onnx',
  '.onnx_data',
  '.npz',
  '.zip',
  '.tar',
  '.gz',
];
const WRITTEN_BY_US = new Set([
  'config.json',
  'quantize_config.json',
  'genai_config.json',
  'readme.md',
  'halfbyte.json',
]);
/** Sub-folders that loaders read beside the weights; others hold other formats of the same model. */
const KEPT_FOLDERS = ['additional_chat_templates/'];

/**
 * Which files of a model folder are copied beside the quantized weights: tokenizer, chat templates, generation config,
 * vocabularies, licence, remote code … Names are relative with "/" as separator; sorted.
 */
export function sideFiles(names: Iterable<string>): string[] {
  return [...names].filter(isSideFile).sort();
}

function isSideFile(name: string): boolean {
  const lower = name.toLowerCase();
  if (lower.startsWith('.') || lower.includes('/.')) return false;
  if (lower.includes('/') && !KEPT_FOLDERS.some((folder) => lower.startsWith(folder))) return false;
  return !WRITTEN_BY_US.has(lower) && !NOT_COPIED_EXTENSIONS.some((extension) => lower.endsWith(extension));
}
