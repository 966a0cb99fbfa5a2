// linalg/transpose: to ← fromᵀ through a 32 × 32 tile; with a triangle only its elements of `to` are read and written.
// Dims: from [cols, rows], to [rows, cols].
// Bindings: 1 source f32 view, absent with IN_PLACE; 2 to f32 view.
//#flag IN_PLACE: source is a view of the tensor of `to`; the elements read and written differ
//#include common/index.wgsl
struct Params {
  rows: u32,
  cols: u32,
  from_offset: u32,
  from_stride: u32,
  to_offset: u32,
  to_stride: u32,
  triangle: u32,
  row_offset: i32,
  tiles_across: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
//#if !IN_PLACE
@group(0) @binding(1) var<storage, read> source: array<f32>;
//#endif
@group(0) @binding(2) var<storage, read_write> to: array<f32>;
//#include common/triangle.wgsl

fn source_at(index: u32) -> f32 {
  //#if IN_PLACE
  return to[index];
  //#else
  return source[index];
  //#endif
}

// One column more than needed, against bank conflicts.
var<workgroup> tile: array<f32, 1056>;

fn wanted(row: u32, col: u32) -> bool {
  return row < params.rows && col < params.cols && in_triangle(row, col);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups);
  let row = (index / params.tiles_across) * 32u;
  let col = (index % params.tiles_across) * 32u;
  if (row >= params.rows) { return; }
  let x = lane % 32u;
  for (var y = lane / 32u; y < 32u; y += 8u) {
    // Element (row + x, col + y) of `to` lies at (col + y, row + x) of the source.
    if (wanted(row + x, col + y)) {
      tile[y * 33u + x] = source_at(params.from_offset + (col + y) * params.from_stride + row + x);
    }
  }
  workgroupBarrier();
  for (var y = lane / 32u; y < 32u; y += 8u) {
    if (wanted(row + y, col + x)) {
      to[params.to_offset + (row + y) * params.to_stride + col + x] = tile[x * 33u + y];
    }
  }
}
