// quant/add-losses: losses[i] += what quant/gptq-block left in column 0 of `carried`.
// Dims: N rows.
// Bindings: 1 carried f32 view [N, n]; 2 losses f32 [N] in and out.
//#include common/index.wgsl
struct Params {
  rows: u32,
  carried_offset: u32, carried_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> carried: array<f32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_group(group, groups) * 256u + lane;
  if (row >= params.rows) { return; }
  losses[row] += carried[params.carried_offset + row * params.carried_stride];
}
