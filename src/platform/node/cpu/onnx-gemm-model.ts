/**
 * An ONNX model of one Gemm node, written byte by byte: c = op(a)·op(b) in float32 with free dimensions. The file form
 * is Protocol Buffers: every field is a key (field number · 8 + wire type: 0 integer, 2 counted bytes) and its value.
 * Field numbers are those of the ONNX specification's onnx.proto.
 *
 * ```
 * ModelProto  1 ir_version = 8   7 graph   8 opset_import { 2 version = 13 }
 * GraphProto  1 node   2 name   11 input a   11 input b   12 output c
 * NodeProto   1 input "a"   1 input "b"   2 output "c"   4 op_type "Gemm"   5 attribute transA   5 attribute transB
 * Attribute   1 name   3 i   20 type = 2 (INT)
 * ValueInfo   1 name   2 type { 1 tensor_type { 1 elem_type = 1 (FLOAT)   2 shape { 1 dim { 2 dim_param } … } } }
 * ```
 */
export function encodeGemmModel(trans: { readonly transA: boolean; readonly transB: boolean }): Uint8Array {
  const node = [
    ...text(1, 'a'),
    ...text(1, 'b'),
    ...text(2, 'c'),
    ...text(4, 'Gemm'),
    ...counted(5, integerAttribute('transA', trans.transA ? 1 : 0)),
    ...counted(5, integerAttribute('transB', trans.transB ? 1 : 0)),
  ];
  const graph = [
    ...counted(1, node),
    ...text(2, 'gemm'),
    ...counted(11, matrixInfo('a')),
    ...counted(11, matrixInfo('b')),
    ...counted(12, matrixInfo('c')),
  ];
  return Uint8Array.from([...integer(1, 8), ...counted(7, graph), ...counted(8, integer(2, 13))]);
}

/** A float32 matrix of any size. */
function matrixInfo(name: string): number[] {
  const dims = [`${name}_rows`, `${name}_cols`].flatMap((dim) => counted(1, text(2, dim)));
  const tensorType = [...integer(1, 1), ...counted(2, dims)];
  return [...text(1, name), ...counted(2, counted(1, tensorType))];
}

function integerAttribute(name: string, value: number): number[] {
  return [...text(1, name), ...integer(3, value), ...integer(20, 2)];
}

function integer(field: number, value: number): number[] {
  return [...varint(field * 8), ...varint(value)];
}

function text(field: number, value: string): number[] {
  return counted(field, [...new TextEncoder().encode(value)]);
}

function counted(field: number, content: readonly number[]): number[] {
  return [...varint(field * 8 + 2), ...varint(content.length), ...content];
}

/** Seven bits a byte, least significant first; the top bit says that more follow. */
function varint(value: number): number[] {
  const result: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) result.push((rest % 128) + 128);
  return [...result, rest];
}
