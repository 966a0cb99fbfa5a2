// common/element: one element of a weight as f32 out of u32 words, by the dtype chosen with the flags F16 and BF16.
// The kernel includes common/dtype.wgsl before this file.
//#flag F16: the weight holds float16, two to a word
//#flag BF16: the weight holds bfloat16, two to a word

// Word of element `index`.
fn element_word(index: u32) -> u32 {
  var word = index;
  //#if F16
  word = index >> 1u;
  //#endif
  //#if BF16
  word = index >> 1u;
  //#endif
  return word;
}

// Element `index` out of its word.
fn element_of(word: u32, index: u32) -> f32 {
  var value = bitcast<f32>(word);
  //#if F16
  value = f16_to_f32(half_of(word, index));
  //#endif
  //#if BF16
  value = bf16_to_f32(half_of(word, index));
  //#endif
  return value;
}
