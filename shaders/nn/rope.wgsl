// nn/rope: rotary position embedding in place, "rotate half" order: x[i] and x[i + rotary/2] of each head turn by the
// angle of the row's position.
// Dims: B·T rows, row r is position r mod T; H heads of E elements, the first `2·half` of each head turn.
// Bindings: 1 x f32 view [B·T, H·E]; 2 cos and 3 sin f32 [≥ T, half], computed on the host in float64 because WGSL
// promises sin and cos only to 2⁻¹¹.
//#include common/index.wgsl
struct Params {
  rows: u32,
  seq_len: u32,
  heads: u32,
  head_dim: u32,
  half: u32,
  x_offset: u32,
  x_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> cosines: array<f32>;
@group(0) @binding(3) var<storage, read> sines: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  let pairs = params.heads * params.half;
  if (index >= params.rows * pairs) { return; }
  let row = index / pairs;
  let head = index % pairs / params.half;
  let i = index % params.half;
  let angle = row % params.seq_len * params.half + i;
  let first = params.x_offset + row * params.x_stride + head * params.head_dim + i;
  let second = first + params.half;
  let a = x[first];
  let b = x[second];
  x[first] = a * cosines[angle] - b * sines[angle];
  x[second] = b * cosines[angle] + a * sines[angle];
}
