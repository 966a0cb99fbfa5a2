/** Names of tensors in Hugging Face checkpoints and in GGUF (gguf-py gguf/tensor_mapping.py); both keep .weight, .bias. */

const WHOLE: ReadonlyMap<string, string> = new Map([
  ['model.embed_tokens', 'token_embd'],
  ['model.norm', 'output_norm'],
  ['lm_head', 'output'],
]);

/** Behind `model.layers.i.` and behind `blk.i.`. */
const PER_LAYER: ReadonlyMap<string, string> = new Map([
  ['input_layernorm', 'attn_norm'],
  ['self_attn.q_proj', 'attn_q'],
  ['self_attn.k_proj', 'attn_k'],
  ['self_attn.v_proj', 'attn_v'],
  ['self_attn.o_proj', 'attn_output'],
  ['self_attn.q_norm', 'attn_q_norm'],
  ['self_attn.k_norm', 'attn_k_norm'],
  ['post_attention_layernorm', 'ffn_norm'],
  ['mlp.gate_proj', 'ffn_gate'],
  ['mlp.up_proj', 'ffn_up'],
  ['mlp.down_proj', 'ffn_down'],
]);

const WHOLE_BACK = inverse(WHOLE);
const PER_LAYER_BACK = inverse(PER_LAYER);

/** Embedding and head: big [V, D] tables, in mixtures of a type of their own. */
export const EMBEDDING_MODULE = 'model.embed_tokens';
export const HEAD_MODULE = 'lm_head';

/** The GGUF name of a checkpoint tensor, or undefined where GGUF has none. */
export function ggufName(name: string): string | undefined {
  return rename(name, /^model\.layers\.(\d+)\.(.+)$/, 'blk.', WHOLE, PER_LAYER);
}

/** The checkpoint name of a GGUF tensor, or undefined where it is none of a decoder of ours. */
export function checkpointName(name: string): string | undefined {
  return rename(name, /^blk\.(\d+)\.(.+)$/, 'model.layers.', WHOLE_BACK, PER_LAYER_BACK);
}

function rename(
  name: string,
  layered: RegExp,
  prefix: string,
  whole: ReadonlyMap<string, string>,
  perLayer: ReadonlyMap<string, string>,
): string | undefined {
  const parts = /^(.+)\.(weight|bias)$/.exec(name);
  if (parts === null) return undefined;
  const [, module, suffix] = parts;
  const layer = layered.exec(module);
  const renamed =
    layer === null ? whole.get(module) : withLayer(prefix, Number(layer[1]), perLayer.get(layer[2]));
  return renamed === undefined ? undefined : `${renamed}.${suffix}`;
}

function withLayer(prefix: string, layer: number, name: string | undefined): string | undefined {
  return name === undefined ? undefined : `${prefix}${layer}.${name}`;
}

/** Whether a GGUF tensor's rows are those of heads that architecture "llama" permutes: query and key projections. */
export function isPermuted(architecture: string, name: string): boolean {
  return architecture === 'llama' && /^blk\.\d+\.attn_[qk]\.(weight|bias)$/.test(name);
}

function inverse(names: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...names].map(([from, to]) => [to, from] as const));
}
