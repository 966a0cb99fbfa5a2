// nn/silu-mul: out = silu(gate) · up with silu(g) = g / (1 + e^(−g)).
// Dims: n token rows, I intermediate.
// Bindings: 1 first f32 view [n, I]; 2 second f32 view [n, I]; 3 out f32 view [n, I]. `first` is gate and `second` is
// up, the other way round when up_first is 1. With IN_PLACE there is no binding 3: the result goes to the tensor of
// `first`, because WebGPU forbids one buffer to be both read-only and written in a dispatch.
//#flag IN_PLACE: out is a view of the tensor of `first`
//#include common/index.wgsl
struct Params {
  rows: u32,
  cols: u32,
  first_offset: u32,
  first_stride: u32,
  second_offset: u32,
  second_stride: u32,
  out_offset: u32,
  out_stride: u32,
  up_first: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> second: array<f32>;
//#if IN_PLACE
@group(0) @binding(1) var<storage, read_write> first: array<f32>;
//#else
@group(0) @binding(1) var<storage, read> first: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
//#endif

fn put(index: u32, value: f32) {
  //#if IN_PLACE
  first[index] = value;
  //#else
  out[index] = value;
  //#endif
}

// e^(−g) is kept finite: where it would overflow the quotient is below 1e-36 either way.
fn silu(g: f32) -> f32 {
  return g / (1.0 + exp(min(-g, 87.0)));
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  if (index >= params.rows * params.cols) { return; }
  let row = index / params.cols;
  let col = index % params.cols;
  let a = first[params.first_offset + row * params.first_stride + col];
  let b = second[params.second_offset + row * params.second_stride + col];
  put(
    params.out_offset + row * params.out_stride + col,
    select(silu(a) * b, silu(b) * a, params.up_first == 1u),
  );
}
