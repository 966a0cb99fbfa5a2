// nn/rms-norm: out = x / sqrt(mean(x²) + eps) · weight over the columns of each row, one workgroup a row.
// Dims: n token rows (or rows × heads), D columns.
// Bindings: 1 x f32 view [n, D]; 2 weight [D] f32, f16 or bf16; 3 out f32 view [n, D], absent with IN_PLACE.
// Accumulation: f32, D/256 terms a lane, then a tree.
//#flag IN_PLACE: out is a view of the tensor of x
//#if SUBGROUPS
enable subgroups;
//#endif
//#include common/index.wgsl
//#include common/dtype.wgsl
//#include common/element.wgsl
//#include common/reduce.wgsl
struct Params {
  rows: u32,
  cols: u32,
  x_offset: u32,
  x_stride: u32,
  out_offset: u32,
  out_stride: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> weight: array<u32>;
//#if IN_PLACE
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
//#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
//#endif

fn put(index: u32, value: f32) {
  //#if IN_PLACE
  x[index] = value;
  //#else
  out[index] = value;
  //#endif
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_group(group, groups);
  if (row >= params.rows) { return; }
  let start = params.x_offset + row * params.x_stride;
  let to = params.out_offset + row * params.out_stride;
  var squares = 0.0;
  for (var j = lane; j < params.cols; j += 256u) {
    let value = x[start + j];
    squares += value * value;
  }
  let mean = reduce_sum(squares, lane) / f32(params.cols);
  let factor = 1.0 / sqrt(mean + params.eps);
  for (var j = lane; j < params.cols; j += 256u) {
    put(to + j, x[start + j] * factor * element_of(weight[element_word(j)], j));
  }
}
