import type { RowOrder } from './blocks/row-encoder.js';

/**
 * llama.cpp rotates neighbouring pairs in architecture "llama", Hugging Face rotates halves, so rows of q_proj and k_proj
 * (and their biases) change places within each head: file row 2i + half of a head is row half·d/2 + i of the checkpoint
 * (llama.cpp convert_hf_to_gguf.py, LlamaModel.permute). Returns the checkpoint row of a file row; `headDim` is d.
 */
export function headPermutation(headDim: number): RowOrder {
  const half = headDim / 2;
  return (row) => {
    const within = row % headDim;
    return row - within + (within % 2) * half + Math.floor(within / 2);
  };
}
