// tensor/merge-bytes: copies a run of bytes into a tensor at any byte offset, neighbours untouched.
// Dims: none; source byte i, i < count, goes to target byte first + i.
// Bindings: 1 source u32 words (bytes from byte 0 on); 2 target u32 words, any dtype.
//#include common/index.wgsl
struct Params {
  first: u32, // byte offset in the target
  count: u32, // bytes
  words: u32, // target words touched
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> words: array<u32>;

// One invocation owns one target word, so that no two write the same.
@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  if (index >= params.words) { return; }
  let word = params.first / 4u + index;
  var value = words[word];
  for (var byte = 0u; byte < 4u; byte++) {
    let target_byte = 4u * word + byte;
    if (target_byte < params.first || target_byte >= params.first + params.count) { continue; }
    let at = target_byte - params.first;
    let bits = (source[at / 4u] >> (8u * (at % 4u))) & 0xffu;
    value = (value & ~(0xffu << (8u * byte))) | (bits << (8u * byte));
  }
  words[word] = value;
}
