/**
 * Where things lie: sizes, alignments and offsets by the layout rules of the WGSL storage
 * address space. TypeScript, wasm and kernels read the same bytes, so there is one set of rules.
 *
 * ```text
 *   u32 i32 f32, pointers   size  4  align  4      array   stride = size up to its align
 *   vec2                          8         8      struct  align = the greatest of its members,
 *   vec3                         12        16              size rounded up to it
 *   vec4                         16        16
 * ```
 * A vec3 leaves its last 4 bytes to the next member.
 */

export interface Layout {
  readonly size: number;
  readonly align: number;
}

export const SCALAR_LAYOUT: Layout = { size: 4, align: 4 };

export const alignUp = (value: number, align: number): number => Math.ceil(value / align) * align;

export const vectorLayout = (length: 2 | 3 | 4): Layout => ({
  size: length * 4,
  align: length === 2 ? 8 : 16,
});

/** The distance of two elements of an array. */
export const strideOf = (element: Layout): number => alignUp(element.size, element.align);

export const arrayLayout = (element: Layout, length: number): Layout => ({
  size: strideOf(element) * length,
  align: element.align,
});

/** Members in order, each at the next offset that its alignment allows. */
export function structLayout(members: readonly Layout[]): Layout & { readonly offsets: number[] } {
  const offsets: number[] = [];
  let end = 0;
  let align = 1;
  for (const member of members) {
    const offset = alignUp(end, member.align);
    offsets.push(offset);
    end = offset + member.size;
    align = Math.max(align, member.align);
  }
  return { offsets, align, size: alignUp(end, align) };
}
