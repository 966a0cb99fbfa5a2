// nn/rms-norm: out = x / sqrt(mean(x²) + eps) · weight over the columns of each row.
// Dims: n token rows (or rows × heads), D columns.
// Bindings: 1 x f32 view [n, D]; 2 weight [D] f32, f16 or bf16; 3 out f32 view [n, D], absent with IN_PLACE.
// Accumulation: f32; one workgroup a row, D/256 terms a lane, then a tree. With ROW_PER_LANE one lane a row, 4 partial
// sums, no barriers: software adapters run that faster.
//#flag IN_PLACE: out is a view of the tensor of x
//#flag ROW_PER_LANE: one lane a row, 256 rows a workgroup; never with SUBGROUPS
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

// Σ x² over columns first, first + step, … below cols of the row that begins at `start`.
fn square_sum(start: u32, first: u32, step: u32) -> f32 {
  var sums = vec4<f32>();
  for (var j = first; j < params.cols; j += 4u * step) {
    for (var part = 0u; part < 4u; part++) {
      let col = j + part * step;
      if (col < params.cols) { sums[part] += x[start + col] * x[start + col]; }
    }
  }
  return sums.x + sums.y + (sums.z + sums.w);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  //#if ROW_PER_LANE
  let row = flat_group(group, groups) * 256u + lane;
  let first = 0u;
  let step = 1u;
  //#else
  let row = flat_group(group, groups);
  let first = lane;
  let step = 256u;
  //#endif
  if (row >= params.rows) { return; }
  let start = params.x_offset + row * params.x_stride;
  let to = params.out_offset + row * params.out_stride;
  var squares = square_sum(start, first, step);
  //#if !ROW_PER_LANE
  squares = reduce_sum(squares, lane);
  //#endif
  let factor = 1.0 / sqrt(squares / f32(params.cols) + params.eps);
  for (var j = first; j < params.cols; j += step) {
    put(to + j, x[start + j] * factor * element_of(weight[element_word(j)], j));
  }
}
