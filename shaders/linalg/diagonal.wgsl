// linalg/diagonal: to[i] ← x[i, i], or with SET x[i, i] ← to[i].
// Dims: n elements on the diagonal of x.
// Bindings: 1 x f32 view; 2 line f32, elements line_offset … line_offset + n − 1.
//#flag SET: the diagonal is written, else read
//#include common/index.wgsl
struct Params {
  n: u32,
  offset: u32,
  stride: u32,
  line_offset: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
//#if SET
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> line: array<f32>;
//#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> line: array<f32>;
//#endif

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_group(group, groups) * 256u + lane;
  if (i >= params.n) { return; }
  let at = params.offset + i * (params.stride + 1u);
  //#if SET
  x[at] = line[params.line_offset + i];
  //#else
  line[params.line_offset + i] = x[at];
  //#endif
}
