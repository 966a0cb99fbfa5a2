// tensor/copy: to ← source element by element; f16 and bf16 convert exactly.
// Dims: source, to [rows, cols].
// Bindings: 1 source view, f32 or 16-bit floats two to a word, absent with IN_PLACE; 2 to f32 view.
//#flag HALF: source holds 16-bit floats
//#flag BF16: those are bfloat16, else float16
//#flag IN_PLACE: source is a view of the tensor of `to` that does not overlap it
//#include common/index.wgsl
//#include common/dtype.wgsl
struct Params {
  rows: u32,
  cols: u32,
  from_offset: u32,
  from_stride: u32,
  to_offset: u32,
  to_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
//#if !IN_PLACE
@group(0) @binding(1) var<storage, read> source: array<u32>;
//#endif
// Words, so that NaN and subnormals of f32 pass unchanged.
@group(0) @binding(2) var<storage, read_write> to: array<u32>;

fn source_at(index: u32) -> u32 {
  //#if IN_PLACE
  return to[index];
  //#else
  //#if HALF
  return widened(half_of(source[index >> 1u], index));
  //#else
  return source[index];
  //#endif
  //#endif
}

//#if BF16
fn widened(bits: u32) -> u32 { return bits << 16u; }
//#else
fn widened(bits: u32) -> u32 { return bitcast<u32>(f16_to_f32(bits)); }
//#endif

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  let row = index / params.cols;
  let col = index % params.cols;
  if (row >= params.rows) { return; }
  let at = params.from_offset + row * params.from_stride + col;
  to[params.to_offset + row * params.to_stride + col] = source_at(at);
}
