// nn/embed: gathers rows of one panel of an embedding table: out[i] = table[tokens[i]].
// Dims: n token rows, D hidden, V vocabulary; the panel holds the tokens [first_token, first_token + panel_rows).
// Bindings: 1 tokens u32 [n] < V; 2 panel [panel_rows, D] f32, f16 or bf16; 3 out f32 [n, D].
// Rows whose token lies in another panel are left to the dispatch for that panel.
//#include common/index.wgsl
//#include common/dtype.wgsl
//#include common/element.wgsl
struct Params {
  n: u32,
  hidden: u32,
  first_token: u32,
  panel_rows: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>;
@group(0) @binding(2) var<storage, read> panel: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  if (index >= params.n * params.hidden) { return; }
  let token = tokens[index / params.hidden];
  if (token < params.first_token || token - params.first_token >= params.panel_rows) { return; }
  let source = (token - params.first_token) * params.hidden + index % params.hidden;
  out[index] = element_of(panel[element_word(source)], source);
}
